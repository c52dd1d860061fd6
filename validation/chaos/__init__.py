"""Chaos test: a run that is killed at random instants ends with the same weights and the same numbers as one that is
not. `run` starts and kills, `journal` reads what a run wrote.
"""
