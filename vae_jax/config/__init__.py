"""All config keys: checks of values and combinations, and the specs built from them."""
