"""The host side of one run: its folder and checkpoints, training and measuring."""
