"""What a run or sweep found, as tables and figures, from its records."""
