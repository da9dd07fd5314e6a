"""Words for people."""


def count(number: int, noun: str) -> str:
    """Such as "1 lane" or "10,000 images"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
