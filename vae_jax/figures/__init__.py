"""Plots of given arrays and records; nothing is recomputed. Each function writes one figure."""
