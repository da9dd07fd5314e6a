"""Studies, one in each file: its question, command, expected time, and what was found."""
