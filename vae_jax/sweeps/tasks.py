"""Trains the programs of a sweep as tasks of a Dask cluster.

A task that ends with its worker is taken by another worker, and goes on from its checkpoint.
"""

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_jax.config.import_members import codes
from vae_jax.errors import Stopped, UserError
from vae_jax.runs.progress import lines
from vae_jax.runs.signals import stop_on_signal
from vae_jax.sweeps.cluster import PATIENCE, Cluster, connected, scheduler_address
from vae_jax.sweeps.owner import Taken, release
from vae_jax.sweeps.plan import read_sweep
from vae_jax.sweeps.task import TOPIC, Unfit, code, train_task
from vae_jax.sweeps.worker import Outcome, Records, settle, unfinished

if TYPE_CHECKING:
    from distributed import Client, Future

POLL_SECONDS = 0.1
SILENCE = 1_800  # seconds without a word after which a worker counts as hung


def train_on(cluster: Cluster, workdir: Path) -> None:
    """Trains every program that is not finished, in a sweep that this process has locked.

    Raises:
      Stopped: SIGTERM or SIGINT was received, or the scheduler was lost; the work is saved.
      UserError: no worker can train them, or no scheduler answers.
    """
    with connected(cluster) as client, stop_on_signal() as stop:
        print(f"Dask: {scheduler_address(client)}, dashboard {client.dashboard_link}", flush=True)
        tasks = Tasks(client, workdir.absolute())
        try:
            with lines(tasks.status, on_terminals=True):
                while tasks.left() and not stop.is_set():
                    tasks.settle_those_done()
                    tasks.look_after_the_others()
                    time.sleep(POLL_SECONDS)
        except UserError:
            tasks.stop()
            raise
        if stop.is_set():
            saved = tasks.stop()
            raise Stopped(f"the workers were stopped{' and have saved' if saved else ''}")


class Tasks:
    """The programs of a sweep as tasks of a client."""

    def __init__(self, client: "Client", workdir: Path):
        self.client, self.workdir, self.sweep = client, workdir, read_sweep(workdir)
        self.futures: dict[str, Future] = {}  # by program
        self.heard: dict[str, dict[str, Any]] = {}  # the last message of each program's task
        self.failed: set[str] = set()
        self.records = Records()
        self.answered = time.monotonic()
        client.subscribe_topic(TOPIC, self.hear)
        self.submit()

    def hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Notes a message of a task, and the time of the first with this step."""
        message = event[1]
        if message["workdir"] != str(self.workdir):  # another sweep on the same cluster
            return
        before = self.heard.get(message["program"], {})
        if message["step"] == before.get("step") and message["pid"] == before.get("pid"):
            return
        self.heard[message["program"]] = message | {"heard": time.monotonic()}

    def submit(self) -> None:
        """Submits the programs that have no task yet."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        own_codes = codes(self.sweep.base, *self.sweep.configs).values()
        gpus = any("GPU" in worker.get("resources", {}) for worker in workers)
        for program in unfinished(self.sweep):
            if program.name not in self.futures and program.name not in self.failed:
                self.futures[program.name] = self.client.submit(
                    train_task,
                    str(self.workdir),
                    program.name,
                    code(),
                    tuple(own.checksum for own in own_codes),
                    key=f"{program.name}-{uuid.uuid4().hex[:8]}",
                    resources={"GPU": 1} if gpus else None,
                    pure=False,
                )

    def left(self) -> int:
        return len(self.futures)

    def status(self) -> str:
        """A line for a log."""
        heard = [self.heard[name] for name in self.futures if name in self.heard]
        parts = [
            f"program {m['program']}: step {m['step']:,} of {m['total_steps']:,}"
            + (f", {m['said']}" if m["said"] else "")
            for m in heard[:8]
        ]
        waiting = len(self.futures) - len(heard)
        return "; ".join([*parts, *([f"{waiting} waiting"] if waiting else [])])

    def settle_those_done(self) -> None:
        """Records the outcomes of the tasks that ended, and submits what is still to be trained."""
        from distributed import KilledWorker

        for name, future in list(self.futures.items()):
            if not future.done():
                continue
            del self.futures[name]
            try:
                outcome = future.result(timeout=PATIENCE)
            except Unfit as error:
                self.dismiss(*error.args)
                continue
            except Taken as error:
                raise Stopped(str(error)) from error
            except KilledWorker:
                outcome = Outcome(name, failed="every worker that tried it ended")
            except ModuleNotFoundError as error:
                raise UserError(f"a worker can't import {error.name}; install it there") from error
            except (UserError, Stopped):
                raise
            except Exception as error:
                if future.status == "error":
                    raise
                raise self.lost() from error  # the future was cancelled, or can't be asked for
            if outcome.failed:
                self.failed.add(name)
            self.sweep = settle(self.sweep, outcome)
            self.records.update(self.sweep)
            self.submit()

    def look_after_the_others(self) -> None:
        """Restarts workers that hang.

        Raises:
          Stopped: the scheduler was lost.
        """
        now = time.monotonic()
        if self.client.status == "running":
            self.answered = now
        elif now > self.answered + PATIENCE:
            raise self.lost()
        for name in self.futures:
            message = self.heard.get(name, {"step": 0, "total_steps": 0})
            trains = message["step"] < message["total_steps"]  # evaluations are silent
            if trains and now > message["heard"] + SILENCE:
                print(
                    f"program {name}: its worker {message['worker']} has said nothing for "
                    f"{SILENCE // 60} min, and is started anew",
                    flush=True,
                )
                del self.heard[name]
                self.client.restart_workers([message["worker"]], raise_for_error=False)
                return

    def dismiss(self, address: str, reason: str) -> None:
        """Stops using a worker, and submits its program again.

        Raises:
          UserError: there is no other worker.
        """
        print(f"the worker {address} is left out: {reason}", flush=True)
        self.client.retire_workers([address])
        if not set(self.client.scheduler_info(n_workers=-1)["workers"]) - {address}:
            raise UserError(f"no worker can train this sweep: {reason}")
        self.submit()

    def lost(self) -> Stopped:
        return Stopped(f"the scheduler {scheduler_address(self.client)} was lost")

    def stop(self) -> bool:
        """Asks the running tasks to save, and waits for that; returns whether all did."""
        for program in unfinished(self.sweep):
            release(self.sweep.folder(program))
        running = [future for name, future in self.futures.items() if name in self.heard]
        self.client.cancel([f for f in self.futures.values() if f not in running])
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not all(future.done() for future in running):
            time.sleep(POLL_SECONDS)
        return all(future.done() for future in running)
