"""Studies, one a file: question, command, expected time, what was found."""
