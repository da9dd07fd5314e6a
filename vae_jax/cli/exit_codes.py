"""What a command's errors say, and its exit code."""

import errno
import sys
from collections.abc import Callable

from vae_jax.errors import Failed, Stopped, UserError, tell
from vae_jax.interrupts import interruptible
from vae_jax.streams import silence
from vae_jax.words import page

# Errors of the operating system that the user can fix.
REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR,
}  # fmt: skip


def answer(command: Callable[[], None]) -> int:
    """Runs a command and returns the exit code; errors that a user can fix get a line on stderr."""
    with interruptible() as asked:
        try:
            command()
        except UserError as error:
            tell(error)
            return 2
        except BrokenPipeError:  # the reader of stdout has closed it
            silence(sys.stdout)
            return 1
        except KeyboardInterrupt:
            tell(INTERRUPTED)
            return 1
        except Failed as failed:
            tell(failed)
            return 1
        except Stopped as stopped:
            tell(f"{stopped}; the same command goes on from there")
            return 1
        except Exception as error:
            if asked.times:  # libraries turn it into exceptions of their own
                tell(INTERRUPTED)
                return 1
            if without_memory(error):
                tell(f"out of memory ({type(error).__name__}: {error}); {page(MEMORY)}")
                return 1
            if not isinstance(error, OSError) or error.errno not in REFUSALS:
                raise
            # Files are always named.
            where = f"{error.filename}: " if error.filename else "stdout: "
            tell(f"{where}{error.strerror}; mend that and run the same command again")
            return 2
    return 0


def without_memory(error: Exception) -> bool:
    """Whether a device or the host is out of memory."""
    from vae_jax.runs.compilation import out_of_memory  # takes jax, which all that fail so use

    return out_of_memory(error)


MEMORY = "troubles#out-of-memory"
INTERRUPTED = "interrupted; the same command goes on from the last checkpoint"
