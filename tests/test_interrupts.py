"""No Ctrl-C is lost, wherever the command is."""

import contextlib
import gc
import signal
import subprocess
import sys
import time

import pytest

from vae_jax import interrupts
from vae_jax.cli.main import answer
from vae_jax.interrupts import interruptible


@pytest.fixture
def pressed(monkeypatch):
    """Sends SIGINT to this process, once: in whatever Python code runs next."""
    monkeypatch.setattr(interrupts, "LATER", 0.1)
    left = [1]

    def press(*_):
        if left:
            left.pop()
            signal.raise_signal(signal.SIGINT)

    return press


class Deleted:
    def __init__(self, then):
        self.then = then

    def __del__(self):
        self.then()


def collect(pressed):
    """As jax does: a function that every collection of garbage calls."""
    gc.callbacks.append(pressed)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(pressed)


def drop(pressed):
    with contextlib.suppress(BaseException):
        pressed()


PLACES = {
    "as others": lambda pressed: pressed(),
    "in a collection of garbage": collect,
    "as an object is deleted": lambda pressed: Deleted(pressed).__class__,
    "where all exceptions are dropped": drop,
    "in a comparison of C": lambda pressed: sorted([1, 2], key=lambda _: pressed() or 0),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_ends_the_command_from_anywhere(place, pressed, capsys):
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook

    def command():
        PLACES[place](pressed)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.01)

    began = time.monotonic()
    assert answer(command) == 1
    assert time.monotonic() - began < 10
    line = "vae-jax: interrupted; the same command goes on from the last checkpoint\n"
    assert capsys.readouterr().err == line
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == (handler, hook)
    time.sleep(0.3)  # none comes later


def test_what_is_done_at_its_end_is_done_in_peace(pressed):
    done = []

    def command():
        try:
            pressed()
        finally:
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                time.sleep(0.01)
            done.append(1)

    assert answer(command) == 1
    assert done == [1]


def test_an_exception_that_a_library_makes_of_it_is_no_traceback(pressed, capsys):
    def command():
        try:
            pressed()
        except KeyboardInterrupt as error:
            raise RuntimeError("INTERNAL: callback failed") from error

    assert answer(command) == 1
    assert capsys.readouterr().err.startswith("vae-jax: interrupted; ")


THREE = """
import os, signal, time
from vae_jax.interrupts import interruptible
with interruptible():
    for _ in range(3):
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.01)
        except KeyboardInterrupt:
            pass
print("goes on")
"""


def test_the_third_ends_the_process_at_once():
    said = subprocess.run([sys.executable, "-c", THREE], capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (1, "", "\nvae-jax: ended at once\n")


def test_others_handlers_are_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
