"""Strict settings for every test, and the small models that tests share."""

import gc
import itertools
import os
import signal
import sys
from pathlib import Path

# Before jax is imported: tests check values, not speed, and compile several times faster so.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Not the user's cache: one of the tests' own, shared by all workers and the processes that they
# start, and kept for the next time.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / "jax")

# What tests run is not trusted on the user's machine afterwards.
os.environ["XDG_STATE_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache" / "state")

import jax
import pytest

from tests.small.models import mlp_spec
from tests.small.runs import write_tiny_npz
from vae_jax.commands import sweep
from vae_jax.devices.pool import keep_threads_free
from vae_jax.devices.setup import use_cache
from vae_jax.figures import style
from vae_jax.models import ModelSpec
from vae_jax.reports import run_figures

# A shell lets what it starts in the background ignore Ctrl-C, and all that this starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tracing makes many objects that stay: Python's collections find little among them, and took 5% of
# the time.
gc.set_threshold(50_000, 50, 50)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_num_cpu_devices", 8)
keep_threads_free(8)
jax.devices()  # from here on there are eight
use_cache()


MAPS = Path("/proc/self/maps")
MOST_MAPS, EVERY = 40_000, 8  # Linux allows 65,530; tests between two looks, which take 20 ms
finished = itertools.count(1)


@pytest.fixture(autouse=True)
def without_too_many_programs():
    """A process that keeps thousands of compiled programs runs out of memory maps, and crashes."""
    yield
    looks = next(finished) % EVERY == 0 and MAPS.exists()
    if looks and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """A command puts the current folder into sys.path: no other test finds modules there."""
    monkeypatch.setattr(sys, "path", [*sys.path])


save_figure, draw_lane, draw_best_lane = style.save, run_figures.draw_lane, sweep.draw_best_lane


@pytest.fixture(autouse=True, scope="session")
def with_little_ink():
    """Figures are made without their pixels, and a lane's own not at all.

    They took half of the tests' time; `with_lanes_drawn` and `with_pixels` make them.
    """

    def save(fig, path):
        path.parent.mkdir(exist_ok=True)
        for file in style.paths(path):
            file.write_bytes(b"a figure of a test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", save)
        patch.setattr(run_figures, "draw_lane", lambda *_: None)
        patch.setattr(sweep, "draw_best_lane", lambda *_: None)
        yield


@pytest.fixture
def with_lanes_drawn(monkeypatch):
    """All figures that users have, without their pixels."""
    monkeypatch.setattr(run_figures, "draw_lane", draw_lane)
    monkeypatch.setattr(sweep, "draw_best_lane", draw_best_lane)


@pytest.fixture
def with_pixels(monkeypatch, with_lanes_drawn):
    """Figures as users have them."""
    monkeypatch.setattr(style, "save", save_figure)


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    """A VAE of 3 x 5 x 2 images with 4 latent units."""
    return ModelSpec(
        latent_size=4, encoder=mlp_spec(8), decoder=mlp_spec(7, 8), image_shape=(3, 5, 2)
    )


@pytest.fixture
def tiny_npz(tmp_path):
    return write_tiny_npz(tmp_path / "tiny.npz")
