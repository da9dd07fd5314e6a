"""Words for people."""

import pytest

from vae_jax.words import aligned, duration, reason


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "1 s"), (0.2, "1 s"), (119.0, "119 s"), (120.0, "2 min"), (7_000.0, "117 min"),
     (9_000.0, "2.5 h")],
)  # fmt: skip
def test_a_duration_is_never_no_time_and_in_few_digits(seconds, said):
    assert duration(seconds) == said


def test_the_reason_of_an_error_is_one_line_and_never_empty():
    assert reason(ValueError("a\n  b")) == "a b"
    assert reason(KeyError()) == "KeyError"


def test_cells_of_a_column_are_below_one_another():
    rows = [["lane", "elbo", ""], ["0", "-101.25", "done"], ["10", "-9", ""]]
    assert aligned(rows, left={2}) == [
        "lane     elbo",
        "   0  -101.25  done",
        "  10       -9",
    ]
