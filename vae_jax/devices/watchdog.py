"""Watches compilations: reports long ones, and lets a signal end the process during one.

XLA compiles outside of Python, and no signal handler runs until it is done. So a thread receives
the signal in the meantime.
"""

import contextlib
import functools
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
from tqdm import tqdm

from vae_jax import preemption
from vae_jax.words import as_one_line

EVENT = "/jax/core/compile/backend_compile_duration"  # jax's name for a compilation
FIRST_SECONDS = 30.0  # of compiling, before the first line; the next comes after twice as long
GRACE_SECONDS = 5.0  # that a compilation has to end by itself after a signal
POLL_SECONDS = 0.5


class Compilation(NamedTuple):
    """A compilation that is under way."""

    name: str
    began: float  # time.monotonic()


_under_way: dict[int | None, Compilation] = {}  # by thread


@functools.cache
def listen() -> None:
    """Makes jax report when a compilation begins and ends."""

    def begin(event: str, value: float | int, **named: str | int) -> None:
        if event == EVENT:
            name = re.sub(r"^jit[(_](.*?)\)?$", r"\1", str(named.get("fun_name", "a program")))
            _under_way[threading.get_ident()] = Compilation(name, time.monotonic())

    def end(event: str, duration_secs: float, **named: str | int) -> None:
        if event == EVENT:
            _under_way.pop(threading.get_ident(), None)

    jax.monitoring.register_scalar_listener(begin)
    jax.monitoring.register_event_duration_secs_listener(end)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """In this context, long compilations are named on stderr, and SIGINT, SIGTERM and SIGUSR1 end
    the process even during one, with exit code 1: GRACE_SECONDS after the first signal, or at the
    second.

    Only what was computed since the last checkpoint is lost, as with a SIGKILL.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may ask for signals
        return
    listen()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    Watch(reader).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


class Watch(threading.Thread):
    """Reads signals from a pipe, and checks what is being compiled."""

    def __init__(self, reader: int):
        super().__init__(name="watchdog", daemon=True)
        self.reader = reader
        self.signals = 0
        self.first_signal = 0.0  # when it came
        self.due: dict[Compilation, float] = {}  # at how many seconds the next line is due

    def run(self) -> None:
        while self.hears():
            self.speak()
            self.end_if_stuck()
        os.close(self.reader)
        # Python waits for its threads, so one that compiles ahead would keep a process alive that
        # was told to stop.
        over = time.monotonic()
        while self.signals and _under_way:
            time.sleep(POLL_SECONDS)
            if time.monotonic() - over > GRACE_SECONDS:
                leave()

    def hears(self) -> bool:
        """Waits for signals for POLL_SECONDS; returns False once the pipe is closed."""
        if not select.select([self.reader], [], [], POLL_SECONDS)[0]:
            return True
        numbers = os.read(self.reader, 64)
        for number in numbers:
            if number == preemption.SIGNAL:
                preemption.asked.set()  # its handler waits for the main thread
            if number in (signal.SIGINT, signal.SIGTERM, preemption.SIGNAL):
                self.first_signal = self.first_signal or time.monotonic()
                self.signals += 1
        return bool(numbers)

    def speak(self) -> None:
        """Writes a line for each long compilation."""
        for compilation in list(_under_way.values()):
            seconds = time.monotonic() - compilation.began
            if seconds >= self.due.get(compilation, FIRST_SECONDS):
                self.due[compilation] = 2 * seconds
                say(f"compiling {compilation.name}: {seconds:.0f} s so far; Ctrl-C stops")

    def end_if_stuck(self) -> None:
        """Ends the process if a signal has to wait because the main thread compiles."""
        compilation = _under_way.get(threading.main_thread().ident)
        if not (compilation and self.signals):
            return
        waited = time.monotonic() - max(self.first_signal, compilation.began)
        if self.signals > 1 or waited > GRACE_SECONDS:
            say(
                f"stopped while compiling {compilation.name}; "
                "the same command goes on from the last checkpoint"
            )
            leave()


def leave() -> None:
    """Ends the process at once, after flushing stdout."""
    preemption.requeue()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(1)


def say(line: str) -> None:
    """Writes a line on stderr, above the progress bar if there is one."""
    tqdm.write(as_one_line(f"vae-jax: {line}"), file=sys.stderr)
    sys.stderr.flush()
