"""Commands and flags of the command line."""
