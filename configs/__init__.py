"""Experiments, one in each file. Each starts from `default.py`, which holds every key."""
