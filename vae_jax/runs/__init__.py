"""The host side: config, run folder, checkpoints, one run from command to figures."""
