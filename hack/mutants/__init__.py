"""Mutants: small changes of production code that the ordinary suite must catch.

`python -m mutants` applies each of the catalogue to a copy of the checkout, alone, and runs there the tests
that are to catch it. One that no test catches shows a promise of docs/design.md that nothing holds.
"""
