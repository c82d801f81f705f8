"""Measuring the node: stages, memory, operations and rates, of the very code that the service runs.

Nothing here needs torch. `spread`, `rows`, `environment`, `report` and `markdown` need NumPy at most, so that
`python -m training.benchmark` can use them on a machine that has little else.
"""
