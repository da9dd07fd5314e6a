"""The command `vae-jax`, also as `python -m vae_jax`."""

import contextlib
import os
import signal
import sys
from typing import Any


def run() -> int:
    """Runs the command line; returns the exit code."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, leave)
    from vae_jax.cli.main import main  # imported here, so that Ctrl-C is one line from the start

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return main()
    except KeyboardInterrupt:
        leave()
    finally:
        if ours:  # what libraries do at the end of the process would print a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    return 1


def leave(*_: Any) -> None:
    """Ends the process at once: an import that is cut off by an exception may crash it."""
    with contextlib.suppress(OSError):
        os.write(2, b"vae-jax: interrupted\n")
    os._exit(1)


if __name__ == "__main__":
    sys.exit(run())
