"""The state machine of a pipeline: pure. It imports the typed spec and assignments, nothing that does I/O.

`observed`: what a ground sees; `state`: what is remembered; `actions`: what a ground is asked to do;
`decide`: the function between them; `facts`, `checks`, `phases`, `effects`, `conditions`: its parts;
`explain`: for people.
"""

from streampipeline.decide.decide import Decision, cold, decide
from streampipeline.decide.explain import explain, headline
from streampipeline.decide.observed import Observed
from streampipeline.decide.state import Phase, State, worth_writing

__all__ = ["Decision", "Observed", "Phase", "State", "cold", "decide", "explain", "headline", "worth_writing"]
