"""How config keys, sections and families are declared and checked."""
