"""Faults on a stack of real processes, one after another, each with what must follow: `make faults`."""
