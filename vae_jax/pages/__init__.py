"""Pages to look at: the report of a run folder, and the explorer of its latents."""
