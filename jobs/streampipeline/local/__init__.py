"""One machine as a ground: every part of a pipeline is a child process on loopback."""
