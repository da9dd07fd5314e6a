"""Watches over compilations: says which one takes long, and lets a signal end the process in one.

XLA compiles outside of Python, where no signal handler is run before it is done: a thread hears the
signal in the meantime.
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

EVENT = "/jax/core/compile/backend_compile_duration"  # jax's name of a compilation
FIRST_SECONDS = 30.0  # of a compilation, before a line says so; the next line after twice as long
GRACE_SECONDS = 5.0  # for a compilation to end by itself, once a signal has come
POLL_SECONDS = 0.5


class Compilation(NamedTuple):
    """One that is under way."""

    name: str
    began: float  # time.monotonic()


_under_way: dict[int | None, Compilation] = {}  # by thread


@functools.cache
def listen() -> None:
    """Has jax say when a compilation begins and ends."""

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
    """Inside, a compilation that takes long is named on stderr, and SIGINT and SIGTERM end the
    process in the middle of one, with exit code 1: GRACE_SECONDS after the first, or at the second.

    Nothing is lost but what was computed since the last checkpoint, as by a SIGKILL.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread may ask for signals
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
    """Hears signals from a pipe, and looks at what is being compiled."""

    def __init__(self, reader: int):
        super().__init__(name="watchdog", daemon=True)
        self.reader = reader
        self.signals = 0
        self.told = 0.0  # when the first came
        self.due: dict[Compilation, float] = {}  # the seconds after which a line is next written

    def run(self) -> None:
        while self.hears():
            self.speak()
            self.end_if_stuck()
        os.close(self.reader)
        # Python waits for its threads: one that compiles ahead would keep a process that was told
        # to stop.
        over = time.monotonic()
        while self.signals and _under_way:
            time.sleep(POLL_SECONDS)
            if time.monotonic() - over > GRACE_SECONDS:
                leave()

    def hears(self) -> bool:
        """Waits for signals a while; False once the pipe is closed."""
        if not select.select([self.reader], [], [], POLL_SECONDS)[0]:
            return True
        numbers = os.read(self.reader, 64)
        for number in numbers:
            if number in (signal.SIGINT, signal.SIGTERM):
                self.told = self.told or time.monotonic()
                self.signals += 1
        return bool(numbers)

    def speak(self) -> None:
        """A line for each compilation that takes long."""
        for compilation in list(_under_way.values()):
            seconds = time.monotonic() - compilation.began
            if seconds >= self.due.get(compilation, FIRST_SECONDS):
                self.due[compilation] = 2 * seconds
                say(f"compiling {compilation.name}: {seconds:.0f} s so far; Ctrl-C stops")

    def end_if_stuck(self) -> None:
        """Ends the process if a signal waits for the main thread to compile."""
        own = _under_way.get(threading.main_thread().ident)
        if not (own and self.signals):
            return
        waited = time.monotonic() - max(self.told, own.began)
        if self.signals > 1 or waited > GRACE_SECONDS:
            say(
                f"stopped while compiling {own.name}; "
                "the same command goes on from the last checkpoint"
            )
            leave()


def leave() -> None:
    """Ends the process at once, with what it has printed."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(1)


def say(line: str) -> None:
    """A line on stderr, above a bar of progress if there is one."""
    tqdm.write(f"vae-jax: {line}", file=sys.stderr)
    sys.stderr.flush()
