"""What is told without a terminal."""

import threading

from vae_jax.runs.progress import lines, status


def test_a_line_says_how_far_it_is_and_how_long_it_takes():
    said = status(3_000, 1_000, 9_000, 60.0, "validation elbo -101.20")
    assert said == "step 3,000 of 9,000, validation elbo -101.20, about 3 min left"
    assert status(0, 0, 100, 5.0, "") == "step 0 of 100"
    assert status(60, 0, 100, 60.0, "") == "step 60 of 100, about 40 s left"


def test_lines_come_while_a_long_step_runs(capsys):
    told = threading.Event()

    def said():
        told.set()
        return "step 1 of 2"

    with lines(said, every=0.01):
        assert told.wait(10)
    assert capsys.readouterr().err.startswith("step 1 of 2\n")
    assert "progress" not in {thread.name for thread in threading.enumerate()}
