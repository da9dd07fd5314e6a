"""A sweep in one process, killed by real signals."""

import random

import pytest

from tests.small.processes import (
    PROGRAMS,
    ROWS,
    completed,
    killed_after,
    outcome,
    rows_so_far,
    sweeping,
)


def kill_at_random_moments(config, workdir, kills: int, seed: int) -> None:
    moments = random.Random(seed)
    for i, target in enumerate(sorted(moments.randrange(ROWS + 1) for _ in range(kills))):
        # This process, or two workers and the one that started them.
        more = ("--launcher=local", "--workers=2") if i % 2 else ()
        start = 4.0 if rows_so_far(workdir) >= target else 0.2
        process = sweeping(config, workdir, *more)
        killed_after(process, workdir, target, moments.random() * start)
    completed(config, workdir)


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_bit_for_bit_the_same(
    config, tmp_path, uninterrupted
):
    kill_at_random_moments(config, tmp_path / "killed", kills=3, seed=0)
    assert outcome(tmp_path / "killed") == uninterrupted


@pytest.mark.slow
def test_a_sweep_killed_at_ten_random_moments(config, tmp_path, monkeypatch):
    """The program as users have it, with the compiler's optimisations."""
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)
    completed(config, tmp_path / "whole")
    kill_at_random_moments(config, tmp_path / "killed", kills=10, seed=1)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_a_repeated_sweep_compiles_nothing(config, tmp_path, monkeypatch):
    """And what was compiled ahead is what the calls want: each program is there once."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
    short = "--config.training.num_epochs=1"
    completed(config, tmp_path / "first", short)
    kept = {path.name for path in cache.iterdir() if path.name.endswith("-cache")}
    for name in ("train_lanes", "init_lanes"):
        assert sum(path.startswith(f"jit_{name}-") for path in kept) == PROGRAMS, name
    completed(config, tmp_path / "second", short)
    assert {path.name for path in cache.iterdir() if path.name.endswith("-cache")} == kept
