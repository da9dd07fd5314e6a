"""Words for people."""

import unicodedata

LONGEST = 1_000  # letters of a message


def count(number: int, noun: str) -> str:
    """Such as "1 lane" or "10,000 images"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def shown(text: str) -> str:
    """The text without control characters: a terminal shows it, and does nothing else.

    Line breaks stay. Of what users name, some is printed; an escape sequence in it could move the
    cursor or change a title, and letters that turn the direction could hide what is there.
    """
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cf") else
        letter.encode("unicode_escape").decode()
        for letter in text
    )


def as_one_line(text: str) -> str:
    """The text as one line of at most LONGEST letters, its middle left out if it is longer."""
    line = " ".join(shown(text).split())
    if len(line) <= LONGEST:
        return line
    # The end says what would be right.
    return f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
