"""Papers reproduced, one file a paper; docs/numbers.md has the tables."""
