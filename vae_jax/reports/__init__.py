"""Tables and figures of what a run or sweep found, made from its records."""
