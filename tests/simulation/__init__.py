"""A cluster in virtual time: the real states of manager and workers, all else simulated.

``python -m tests.simulation`` runs it. ``world`` puts a cluster together, ``faults`` disturb it,
``oracle`` judges what it did, and a seed repeats all of it exactly (``trace``).
"""
