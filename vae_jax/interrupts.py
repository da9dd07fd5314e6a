"""Ctrl-C, which ends a command wherever it is.

Python raises KeyboardInterrupt in whatever Python code runs next. If that is called by the garbage
collector, or as an object is deleted, the exception is printed and dropped: jax has such a
function, which runs at every collection. Other code drops all exceptions, as some modules do when
they are imported. So the exception is raised again, until the command ends by it.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

SOON, LATER = 0.02, 1.0  # seconds until it is raised again: if dropped; if the command goes on
MOST = 3  # that many Ctrl-C end the process at once


class Asked:
    """Whether Ctrl-C came, and how often it was pressed."""

    def __init__(self) -> None:
        self.times = 0
        self.is_repeated = False  # the next signal is of nobody's hand
        self.timer = threading.Timer(0, lambda: None)

    def handle(self, number: int, frame: Any) -> None:
        if self.is_repeated:
            self.is_repeated = False
            if is_on_its_way(sys.exception()):  # blocks `finally` take their time
                self.repeat(LATER)
                return
        else:
            self.times += 1
        if self.times >= MOST:
            with contextlib.suppress(OSError):
                os.write(2, b"\nvae-jax: ended at once\n")
            os._exit(1)
        self.repeat(LATER)
        raise KeyboardInterrupt

    def repeat(self, seconds: float) -> None:
        """Sends the signal once more, from a thread, after so many seconds."""

        def send() -> None:
            self.is_repeated = True
            signal.raise_signal(signal.SIGINT)

        self.timer.cancel()
        self.timer = threading.Timer(seconds, send)
        self.timer.daemon = True
        self.timer.start()


def is_on_its_way(error: BaseException | None) -> bool:
    """Whether a KeyboardInterrupt, or what was raised because of one, is being handled."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


@contextlib.contextmanager
def interruptible() -> Iterator[Asked]:
    """In this context, no Ctrl-C is lost, and the third ends the process at once.

    Where SIGINT is ignored, or handled by others, and in other threads than the main one, all stays
    as it is.
    """
    asked = Asked()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked
        return
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if dropped.exc_type is not None and issubclass(dropped.exc_type, KeyboardInterrupt):
            asked.repeat(SOON)
        else:
            before(dropped)

    sys.unraisablehook = hook
    signal.signal(signal.SIGINT, asked.handle)
    try:
        yield asked
    finally:
        asked.timer.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = before
