"""Speed, measured: this code beside others, and beside the machine."""
