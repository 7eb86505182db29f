"""Chaos: real processes, real signals, real jobs; ``python -m tests.soak`` runs it long.

``jobs`` makes jobs and knows their answers by plain Python, ``signals`` hurts the processes of a
cluster at random, ``chaos`` brings both together and counts, ``left`` looks for what is left over.
"""
