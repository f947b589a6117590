"""What the rules would have done in a recorded run: the shipped `decide`, on the recording's clock.

`trace`: what a run saves; `recorded`: what that shows of an engine; `engines`: how fast engines are taken to
be; `world`: what they would have done; `replay`: the loop between `world` and `decide`; `summary`: figures of
a run, recorded or simulated; `command`: what is printed.
"""
