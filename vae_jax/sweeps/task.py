"""What a Dask worker does: a task is a program of a sweep."""

import os
import threading
import zlib
from functools import cache
from pathlib import Path

import vae_jax
from vae_jax.config.code import TRUSTED
from vae_jax.errors import UserError
from vae_jax.runs.observer import MetricRows, Observer
from vae_jax.runs.progress import describe
from vae_jax.sweeps.plan import Datasets, program_run, read_sweep
from vae_jax.sweeps.worker import Outcome, Precompiler, train_program

TOPIC = "vae_jax"  # of the messages of the tasks
ONE_AT_A_TIME = threading.Lock()  # a worker may have several threads, and one program takes all


class Unfit(Exception):
    """The worker can't train a program: (its address, why)."""


@cache
def code() -> str:
    """What this code computes with: the checksum of its files, and the version of jax."""
    import jax

    crc = checksum_of_code(Path(vae_jax.__file__).parent)
    return f"{vae_jax.__version__} ({crc:08x}) with jax {jax.__version__}"


def checksum_of_code(root: Path) -> int:
    """The crc32 of the Python files in a folder, and of their names.

    The configs are left out: they compute nothing, and only an installed package holds them.
    """
    crc = 0
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith("configs/"):
            crc = zlib.crc32(path.read_bytes(), zlib.crc32(name.encode(), crc))
    return crc


@cache
def prepared() -> Datasets:
    """Configures jax, once in each process; returns the datasets that it has loaded."""
    from vae_jax.devices.setup import pin, use_cache, use_cores

    pin()
    use_cores()
    use_cache()
    return Datasets()


def train_task(workdir: str, name: str, wanted: str, trusted: tuple[str, ...] = ()) -> Outcome:
    """Trains the program of this name.

    Args:
      wanted: the code() of the process that asks.
      trusted: the checksums of the user's own code that it has run.

    Raises:
      Unfit: this worker has other code, or does not have the folder or the data.
      Taken: another task has the program now.
      Stopped: it was asked to stop, and has saved.
      UserError: for example, a full disk or a damaged checkpoint.
    """
    from distributed import get_worker

    worker, root = get_worker(), Path(workdir)

    def tell(step: int, total_steps: int, said: str) -> None:
        message = {"step": step, "total_steps": total_steps, "said": said, "pid": os.getpid()}
        whose = {"workdir": workdir, "program": name, "worker": worker.address}
        worker.log_event(TOPIC, whose | message)

    with ONE_AT_A_TIME:
        if code() != wanted:
            raise Unfit(worker.address, f"it has vae_jax {code()}, and {wanted} is wanted")
        TRUSTED.update(trusted)
        data = prepared()
        try:
            sweep = read_sweep(root)
            program = next(p for p in sweep.programs if p.name == name)
            run = program_run(sweep, program, data)
        except UserError as error:
            raise Unfit(worker.address, str(error)) from error
        said = ""

        def rows(step: int, rows: MetricRows) -> None:
            nonlocal said
            said = describe(rows, pseudo=run.pseudo) or said
            tell(step, run.total_steps, said)

        tell(0, run.total_steps, said)
        with Precompiler(data) as ahead:
            return train_program(sweep, program, ahead, follower=Observer(rows=rows))
