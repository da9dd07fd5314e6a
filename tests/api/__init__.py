"""Use from Python."""
