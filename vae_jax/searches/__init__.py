"""Searches that stop early: the host side."""
