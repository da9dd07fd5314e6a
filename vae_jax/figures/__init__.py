"""Plots, drawn from arrays and records alone, never recomputing. Each function writes one PNG."""
