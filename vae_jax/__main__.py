"""The command `vae-jax`, also as `python -m vae_jax`."""

import signal
import sys


def run() -> int:
    """Runs the command line; returns the exit code."""
    try:
        from vae_jax.cli import main  # imported here, so that Ctrl-C is one line from the start

        return main()
    except KeyboardInterrupt:
        print("vae-jax: interrupted", file=sys.stderr)
        return 1
    finally:
        # What libraries do at the end of the process would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(run())
