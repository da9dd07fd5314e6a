"""Every config key: what it must be, what it needs, and what it builds."""
