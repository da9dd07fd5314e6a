"""Models that leave: a folder of weights and of functions that runs without this package."""
