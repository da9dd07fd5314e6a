"""Signals that ask a run to save its state and stop."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

AGAIN_SECONDS = 1.0  # signals closer to each other are one: some senders repeat theirs at once


class Stop:
    """Whether a signal asked to stop. Not an Event: two signals in a row would lock it for ever."""

    def __init__(self) -> None:
        self.since: float | None = None

    def is_set(self) -> bool:
        return self.since is not None


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Notes the first SIGTERM or SIGINT; one that comes a second later has its usual effect."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def request(number: int, frame: Any) -> None:
        if stop.since is None:
            stop.since = time.monotonic()
        elif time.monotonic() > stop.since + AGAIN_SECONDS:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()
