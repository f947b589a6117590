"""Benchmarks: each engine beside the bare limits of its parts, measured in one run on one machine."""
