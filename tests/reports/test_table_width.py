"""Tables fit the terminal."""

from pathlib import Path

import pytest

from vae_jax.reports.table import figure_lines, fitted


@pytest.mark.parametrize("width", [40, 80, 100, 300])
def test_tables_are_as_wide_as_the_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    names = [f"model.key_{i}" for i in range(12)]
    lines = fitted([["lane"], ["10"], ["mean"]], [names, ["1.00"] * 12, ["2.00"] * 12])
    assert max(map(len, lines)) <= min(width, 120)
    assert len(lines) % 3 == 0
    assert all(line.startswith("lane") for line in lines[::3])
    assert " ".join(lines[::3]).replace("lane", "").split() == names
    # No more tables than are needed.
    assert len(lines) // 3 == -(-12 // max(1, (min(width, 120) - 4) // 14))


def test_a_column_wider_than_the_terminal_is_a_table_of_its_own(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    lines = fitted([["lane"], ["0"]], [["a", "b" * 40, "c"], ["1", "2", "3"]])
    assert [line.split()[1:] for line in lines[::2]] == [["a"], ["b" * 40], ["c"]]


def test_figures_are_one_line():
    at = Path("runs/mnist/figures")
    assert figure_lines([at / "a.png", at / "b.png"]) == "2 figures in runs/mnist/figures"
    assert figure_lines([at / "a.png"]) == "1 figure in runs/mnist/figures"
