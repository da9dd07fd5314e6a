"""A worker of a sweep: claims one program after another, trains it, and records its result."""

import contextlib
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from vae_jax.errors import Stopped, UserError
from vae_jax.runs import folder
from vae_jax.runs.run import Run
from vae_jax.runs.summary import results
from vae_jax.runs.train import lane_rows, train_run
from vae_jax.sweeps.compilation import Memory, compile_run, out_of_memory, parts_to_fit
from vae_jax.sweeps.plan import (
    Datasets,
    Program,
    Sweep,
    program_run,
    read_sweep,
    split,
    write_sweep,
)
from vae_jax.sweeps.records import ERROR, collect
from vae_jax.words import count

POLL_SECONDS = 1.0  # between two checks for programs that other workers left unfinished


def is_open(sweep: Sweep, program: Program, began: float) -> bool:
    """Whether the program is still to be trained: not finished, and not failed since `began`."""
    at = sweep.folder(program)
    if folder.is_finished(at):
        return False
    error = at / ERROR
    return not error.exists() or error.stat().st_mtime < began


def work(workdir: Path, data: Datasets, *, wait: bool) -> None:
    """Trains programs until each is finished, failed, or claimed by another worker.

    `wait`: then waits for the other workers, and takes over programs that they leave unfinished.

    Raises:
      Stopped: SIGTERM or SIGINT was received; the state is saved.
      UserError: for example, a full disk or a damaged checkpoint.
    """
    began = time.time()
    with Precompiler(data) as ahead:
        while True:
            sweep = read_sweep(workdir)
            programs = [p for p in sweep.programs if is_open(sweep, p, began)]
            if not programs:
                return
            for program in programs:
                with claimed(sweep, program, began) as sweep_now:
                    if sweep_now:
                        later = [p for p in programs if p != program]
                        train_program(sweep_now, program, later, ahead)
                        break
            else:
                if not wait:
                    return
                time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def claimed(sweep: Sweep, program: Program, began: float) -> Iterator[Sweep | None]:
    """Locks a program and gives the current sweep; None if the program is locked or not open.

    The kernel releases the lock when the process ends, even if it is killed.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder.locked(sweep.folder(program)))
        except folder.InUse:
            yield None
            return
        now = read_sweep(sweep.workdir)
        yield now if program in now.programs and is_open(now, program, began) else None


class Precompiler:
    """Compiles the next program in the background, while another is trained."""

    def __init__(self, data: Datasets):
        self.data = data
        self.started: dict[Program, Future[Memory]] = {}

    def __enter__(self) -> "Precompiler":
        self.pool = ThreadPoolExecutor(1)
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)  # does not wait for a compilation

    def start(self, program: Program, run: Run) -> None:
        if program not in self.started:
            self.started[program] = self.pool.submit(compile_run, run)

    def memory(self, program: Program, run: Run) -> Memory:
        """The memory that the program's run needs; waits until it is compiled."""
        self.start(program, run)
        return self.started[program].result()


def train_program(sweep: Sweep, program: Program, later: list[Program], ahead: Precompiler) -> None:
    """Trains and measures a program, or divides it if it does not fit into memory."""
    at = sweep.folder(program)
    began = time.monotonic()
    try:
        run = program_run(sweep, program, ahead.data)
        parts = parts_to_fit(run, ahead.memory(program, run))
        if parts > 1:
            divide(sweep, program, parts)
            return
        if later:
            ahead.start(later[0], program_run(sweep, later[0], ahead.data))
        folder.refuse_other_data(at, run.data.identity)
        (at / ERROR).unlink(missing_ok=True)
        folder.start(at, lane_rows(run, None), run.data.identity)
        record(sweep)
        done = train_run(run, began, label=program.name)
        folder.write_json(at / folder.RESULTS, results(run, done))
    except (UserError, Stopped, OSError):
        raise
    except Exception as error:
        if out_of_memory(error) and len(program.lanes) > 1:
            divide(sweep, program, 2)
            return
        folder.write_text(at / ERROR, traceback.format_exc())
        reason = (str(error).strip().splitlines() or [""])[0]
        print(f"program {program.name} failed: {type(error).__name__}: {reason}", flush=True)
    else:
        seconds = time.monotonic() - began
        lanes = count(len(run.lanes), "lane")
        print(f"program {program.name} done: {lanes} in {seconds:.0f} s", flush=True)
    record(sweep)


def record(sweep: Sweep) -> None:
    """Updates the records of the sweep."""
    with folder.locked(sweep.workdir, wait=True):
        collect(read_sweep(sweep.workdir))


def divide(sweep: Sweep, program: Program, parts: int) -> None:
    """Replaces a program by several programs with fewer lanes each."""
    with folder.locked(sweep.workdir, wait=True):
        divided = split(read_sweep(sweep.workdir), program, parts)
        write_sweep(divided)
    print(
        f"program {program.name}: its {len(program.lanes)} lanes do not fit into memory together; "
        f"going on with {parts} programs of fewer",
        flush=True,
    )
