"""Words for people."""

import re

LONGEST, LEFT_OUT = 1_000, " [...] "  # letters of a message
# Control characters, and those that turn the direction of a text: a name with one could move the
# cursor, set the terminal's title, or hide a part of itself.
CONTROL = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def count(number: int, noun: str) -> str:
    """Such as "1 lane" or "10,000 images"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def printable(text: str) -> str:
    """The text with its control characters written out; tabs and line breaks stay."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def as_name(text: str) -> str:
    """The text in one line, with all that can't be printed written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_one_line(text: str) -> str:
    """The text as one line, without its middle if it is longer than LONGEST."""
    line = " ".join(printable(text).split())
    if len(line) > LONGEST:  # its end often says what would be right
        half = LONGEST // 2 - len(LEFT_OUT)
        line = f"{line[:half]}{LEFT_OUT}{line[-half:]}"
    return line
