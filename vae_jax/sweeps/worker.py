"""Trains the programs of a sweep: one of them, or all in this process, one after another."""

import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vae_jax import files
from vae_jax.errors import Stopped, UserError
from vae_jax.folders import folder
from vae_jax.runs.compilation import Memory, compile_run, out_of_memory, parts_to_fit
from vae_jax.runs.observer import Observer
from vae_jax.runs.run import Run, refuse_too_few_devices
from vae_jax.runs.start import refuse_other_start
from vae_jax.runs.summary import evaluate_run
from vae_jax.runs.terminal import introduction, progress_bar
from vae_jax.runs.trackers import trackers
from vae_jax.runs.train import lay_out, train_run
from vae_jax.sweeps.owner import Taken, owned
from vae_jax.sweeps.plan import (
    Datasets,
    Program,
    SweepPlan,
    program_run,
    read_sweep,
    split,
    write_sweep,
)
from vae_jax.sweeps.records import collect
from vae_jax.words import count, page

RECORDING = 0.05  # the most part of the time that goes into the records of a sweep


class Outcome(NamedTuple):
    """How the training of a program ended."""

    program: str
    seconds: float = 0.0
    parts: int = 1  # programs that it must be divided into, to fit into memory; 1: it is done
    failed: str = ""  # the exception that it raised; the traceback is in its folder


class Precompiler:
    """Compiles the next program in the background, while another is trained."""

    def __init__(self, data: Datasets):
        self.data = data
        self.started: dict[Program, Future[Memory]] = {}

    def __enter__(self) -> "Precompiler":
        self.pool = ThreadPoolExecutor(1)
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)  # does not wait for a compilation

    def start(self, program: Program, run: Run) -> None:
        if program not in self.started:
            self.started[program] = self.pool.submit(compile_run, run)

    def memory(self, program: Program, run: Run) -> Memory:
        """The memory that the program's run needs; waits until it is compiled."""
        self.start(program, run)
        return self.started[program].result()


def unfinished(sweep: SweepPlan) -> list[Program]:
    """The programs that are still to be trained, and those that failed."""
    return [p for p in sweep.programs if not folder.is_finished(sweep.folder(p))]


def work(workdir: Path, data: Datasets) -> None:
    """Trains every program that is not finished, in a sweep that this process has locked.

    Raises:
      Stopped: SIGTERM or SIGINT was received; the state is saved.
      UserError: for example, a full disk or a damaged checkpoint.
    """
    sweep, records = read_sweep(workdir), Records()
    failed: set[str] = set()
    with Precompiler(data) as ahead:
        while True:
            programs = [p for p in unfinished(sweep) if p.name not in failed]
            if not programs:
                return
            try:
                outcome = train_program(
                    sweep,
                    programs[0],
                    ahead,
                    later=programs[1:],
                    began_to_train=partial(records.update, sweep),
                )
            except Taken as error:
                raise Stopped(str(error)) from error
            if outcome.failed:
                failed.add(outcome.program)
            sweep = settle(sweep, outcome)
            records.update(sweep)


def train_program(
    sweep: SweepPlan,
    program: Program,
    ahead: Precompiler,
    *,
    later: Sequence[Program] = (),
    follower: Observer | None = None,
    began_to_train: Callable[[], None] = lambda: None,
) -> Outcome:
    """Trains and measures one program; writes only into its own folder.

    Args:
      later: programs to train afterwards; the first of them is compiled meanwhile.
      follower: follows the training in place of the terminal.
      began_to_train: called when the folder says that the program is running.

    Raises:
      Stopped: it was asked to stop, and has saved its state.
      Taken: another process trains the program now.
      UserError: for example, a full disk or a damaged checkpoint.
    """
    workdir = sweep.folder(program)
    folder.refuse_links(workdir.parent, (workdir.name,))
    workdir.mkdir(parents=True, exist_ok=True)
    folder.refuse_links(workdir)
    began = time.monotonic()
    try:
        run = program_run(sweep, program, ahead.data)
        refuse_too_few_devices(run.config)
        parts = parts_to_fit(run, ahead.memory(program, run))
        if parts > 1:
            return Outcome(program.name, parts=parts)
        if later:
            ahead.start(later[0], program_run(sweep, later[0], ahead.data))
        folder.refuse_other_data(workdir, run.data.identity)
        if not (workdir / folder.CHECKPOINTS).exists():
            refuse_other_start(run)
        (workdir / folder.ERROR).unlink(missing_ok=True)
        lay_out(run, is_program=True)
        began_to_train()
        with trackers(run, sweep.workdir) as run_trackers:
            with owned(workdir) as owner:
                if follower:
                    done = train_run(run, began, [owner, run_trackers.observer, follower])
                else:
                    with progress_bar(run, program.name) as bar:
                        first = introduction(run, program.name)
                        done = train_run(run, began, [owner, first, run_trackers.observer, bar])
                owner.wants_stop()
            record = evaluate_run(run, done)
            files.write_json(workdir / folder.RESULTS, record)
            run_trackers.results(record["lanes"])
    except (UserError, Stopped, Taken, OSError):
        raise
    except Exception as error:
        if out_of_memory(error) and len(program.lanes) > 1:
            return Outcome(program.name, parts=2)
        reason = (str(error).strip().splitlines() or [""])[0]
        files.write_text(workdir / folder.ERROR, traceback.format_exc())
        return Outcome(program.name, failed=f"{type(error).__name__}: {reason}")
    return Outcome(program.name, time.monotonic() - began)


def settle(sweep: SweepPlan, outcome: Outcome) -> SweepPlan:
    """Says how a program ended; divides it if it does not fit into memory. Returns the sweep."""
    program = next(p for p in sweep.programs if p.name == outcome.program)
    lanes = count(len(program.lanes), "lane")
    if outcome.parts > 1:
        sweep = split(sweep, program, outcome.parts)
        write_sweep(sweep)
        print(
            f"program {program.name}: its {lanes} do not fit into memory together; going on with "
            f"{outcome.parts} programs of fewer lanes: {page('troubles#out-of-memory')}",
            flush=True,
        )
    elif outcome.failed:
        print(f"program {program.name} failed: {outcome.failed}", flush=True)
    else:
        print(f"program {program.name} done: {lanes} in {outcome.seconds:.0f} s", flush=True)
    return sweep


class Records:
    """The records of a sweep, updated while its programs are trained."""

    def __init__(self) -> None:
        self.due = 0.0

    def update(self, sweep: SweepPlan) -> None:
        """Collects them, at most so often that it takes the fraction RECORDING of the time."""
        began = time.monotonic()
        if began >= self.due:
            collect(sweep)
            ended = time.monotonic()
            self.due = ended + (ended - began) / RECORDING
