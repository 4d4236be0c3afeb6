"""Evidence over time: reference fit, filter, e-values and the false-alarm budget.

Start at `bank.py`; `docs/architecture.md` shows where it sits. Nothing is imported here, so
that asking for one number does not load the compiled kernels.
"""
