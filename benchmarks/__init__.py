"""Measures speed: this code compared with others, and with what the machine can do."""
