"""Trains many configs as few compiled programs, with any number of workers."""
