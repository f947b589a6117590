"""All mutants, by what they break."""

from __future__ import annotations

from mutants.catalogue import (
    audit,
    clocks,
    decisions,
    engines,
    generations,
    repairs,
    results,
    starts,
    values,
)

MUTANTS = (
    *decisions.MUTANTS,
    *starts.MUTANTS,
    *engines.MUTANTS,
    *clocks.MUTANTS,
    *values.MUTANTS,
    *results.MUTANTS,
    *repairs.MUTANTS,
    *audit.MUTANTS,
    *generations.MUTANTS,
)
