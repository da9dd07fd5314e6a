"""Experiments, one a file. Each starts from `default.py`, which holds every key that exists."""
