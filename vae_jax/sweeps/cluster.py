"""Trains the programs of a sweep on a Dask cluster: a task is a program.

The cluster is made of processes of this machine, or of jobs of a batch scheduler, or runs already.
A task that ends with its worker is taken by another worker, and goes on from its checkpoint.
"""

import contextlib
import importlib.util
import logging
import os
import shutil
import subprocess
import threading
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import vae_jax
from vae_jax.errors import Stopped, UserError
from vae_jax.runs import folder
from vae_jax.runs.progress import Follower, lines
from vae_jax.runs.train import stop_on_signal
from vae_jax.sweeps.plan import Datasets, program_run, read_sweep
from vae_jax.sweeps.worker import (
    Outcome,
    Precompiler,
    Records,
    settle,
    train_program,
    unfinished,
)

# The batch schedulers of dask-jobqueue: its class, and the command that submits a job.
SCHEDULERS = {
    "slurm": ("SLURMCluster", "sbatch"),
    "pbs": ("PBSCluster", "qsub"),
    "sge": ("SGECluster", "qsub"),
    "lsf": ("LSFCluster", "bsub"),
}
OWNER = ".owner"  # in a program's folder: which task may write there
NONE = "none"  # its content if none may
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}
TOPIC = "vae_jax"  # of the messages of the tasks
POLL_SECONDS = 0.1
PATIENCE = 30  # seconds to wait for a scheduler that does not answer, and for tasks that save
SILENCE = 1_800  # seconds without a word after which a worker counts as hung


class Cluster(NamedTuple):
    """Which cluster, and what each of its workers has."""

    launcher: str  # "local" or "dask": processes of this machine; else of SCHEDULERS
    workers: int
    scheduler: str | None = None  # the address, or the file, of one that runs already
    partition: str | None = None  # the queue
    minutes: int = 240
    gpus: int = 0


class Taken(Exception):
    """Another task trains the program of this one."""


class Unfit(Exception):
    """The worker can't train a program: (its address, why)."""


# What a worker does.

ONE_AT_A_TIME = threading.Lock()  # a worker may have several threads, and one program takes all


@cache
def code() -> str:
    """What this code computes with: the checksum of its files, and the version of jax."""
    import jax

    root = Path(vae_jax.__file__).parent
    crc = 0
    for path in sorted(root.rglob("*.py")):
        crc = zlib.crc32(path.read_bytes(), zlib.crc32(str(path.relative_to(root)).encode(), crc))
    return f"{vae_jax.__version__} ({crc:08x}) with jax {jax.__version__}"


@cache
def prepared() -> Datasets:
    """Configures jax, once in each process; returns the datasets that it has loaded."""
    from vae_jax.devices.setup import pin, use_cache, use_cores

    pin()
    use_cores()
    use_cache()
    return Datasets()


def train_task(workdir: str, name: str, wanted: str) -> Outcome:
    """Trains the program of this name; `wanted`: the code() of the process that asks.

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
        worker.log_event(TOPIC, {"program": name, "worker": worker.address, **message})

    with ONE_AT_A_TIME:
        if code() != wanted:
            raise Unfit(worker.address, f"it has vae_jax {code()}, and {wanted} is wanted")
        data = prepared()
        try:
            sweep = read_sweep(root)
            program = next(p for p in sweep.programs if p.name == name)
            run = program_run(sweep, program, data)
        except UserError as error:
            raise Unfit(worker.address, str(error)) from error
        tell(0, run.total_steps, "")
        at = sweep.folder(program)
        at.mkdir(parents=True, exist_ok=True)
        with owned(at / OWNER) as wants_stop, Precompiler(data) as ahead:
            follower = Follower(wants_stop, tell)
            return train_program(sweep, program, ahead, follower=follower)


@contextlib.contextmanager
def owned(path: Path) -> Iterator[Any]:
    """Makes this task the only one that may write; gives wants_stop().

    A worker that was taken for dead, and is not, so leaves the folder to its successor. Locks
    can't do that: not every network file system keeps them.
    """
    token = uuid.uuid4().hex
    folder.write_text(path, token)

    def wants_stop() -> bool:
        there = path.read_text() if path.exists() else NONE
        if there not in (token, NONE):
            raise Taken
        return there == NONE

    yield wants_stop
    if path.exists() and path.read_text() == token:
        path.unlink()


# What the command does.


def refuse_without_dask(cluster: Cluster) -> None:
    """Raises UserError if the cluster can't be asked for from this machine."""
    packages = ["distributed", *(["dask_jobqueue"] if cluster.launcher in SCHEDULERS else [])]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--launcher={cluster.launcher} needs {package.replace('_', '-')}: "
                "pip install -e '.[cluster]'"
            )
    if cluster.launcher in SCHEDULERS:
        submit = SCHEDULERS[cluster.launcher][1]
        if shutil.which(submit) is None:
            raise UserError(
                f"--launcher={cluster.launcher}: this machine can't submit jobs (no {submit}); "
                "--launcher=local runs workers here"
            )
        if cluster.gpus and cluster.launcher != "slurm":
            raise UserError(
                f"--gpus is for SLURM; say what {cluster.launcher} calls them in Dask's "
                "jobqueue.yaml, as job-extra-directives"
            )


def train_on(cluster: Cluster, workdir: Path) -> None:
    """Trains every program that is not finished, in a sweep that this process has locked.

    Raises:
      Stopped: SIGTERM or SIGINT was received, or the scheduler was lost; the work is saved.
      UserError: no worker can train them, or no scheduler answers.
    """
    with connected(cluster) as client, stop_on_signal() as stop:
        print(f"Dask: {client.scheduler.address}, dashboard {client.dashboard_link}", flush=True)
        tasks = Tasks(client, workdir.absolute())
        with lines(tasks.status):
            while tasks.left() and not stop.is_set():
                tasks.settle_those_done()
                tasks.look_after_the_others()
                time.sleep(POLL_SECONDS)
        if stop.is_set():
            tasks.stop()
            raise Stopped("the workers were stopped and have saved")


class Tasks:
    """The programs of a sweep as tasks of a client."""

    def __init__(self, client, workdir: Path):
        self.client, self.workdir = client, workdir
        self.futures: dict[str, Any] = {}  # by program
        self.heard: dict[str, dict[str, Any]] = {}  # the last message of each program's task
        self.failed: set[str] = set()
        self.records = Records(workdir)
        self.answered = time.monotonic()
        client.subscribe_topic(TOPIC, self.hear)
        self.submit()

    def hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Notes a message of a task, and the time of the first with this step."""
        message = event[1]
        before = self.heard.get(message["program"], {})
        if message["step"] == before.get("step") and message["pid"] == before.get("pid"):
            return
        self.heard[message["program"]] = message | {"heard": time.monotonic()}

    def submit(self) -> None:
        """Submits the programs that have no task yet."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        gpus = any("GPU" in worker.get("resources", {}) for worker in workers)
        for program in unfinished(read_sweep(self.workdir)):
            if program.name not in self.futures and program.name not in self.failed:
                self.futures[program.name] = self.client.submit(
                    train_task,
                    str(self.workdir),
                    program.name,
                    code(),
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
        """Takes the outcomes of the tasks that ended, and submits what these leave."""
        from distributed import KilledWorker

        for name, future in list(self.futures.items()):
            if not future.done():
                continue
            del self.futures[name]
            sweep = read_sweep(self.workdir)
            try:
                outcome = future.result(timeout=PATIENCE)
            except Unfit as error:
                self.dismiss(*error.args)
                continue
            except Taken as error:
                raise Stopped(f"another command trains program {name}") from error
            except KilledWorker:
                outcome = Outcome(name, failed="every worker that tried it ended")
            except ModuleNotFoundError as error:
                raise UserError(f"a worker can't import {error.name}; install it there") from error
            except (UserError, Stopped):
                raise
            except (
                Exception
            ) as error:  # CancelledError, CommClosedError, ...: the scheduler is gone
                if future.status == "error":
                    raise
                raise self.lost() from error
            if outcome.failed:
                self.failed.add(name)
            settle(sweep, outcome)
            self.records.update()
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
            message = self.heard.get(name)
            if message and now > message["heard"] + SILENCE:
                print(
                    f"program {name}: its worker {message['worker']} has said nothing for "
                    f"{SILENCE // 60} min, and is started anew",
                    flush=True,
                )
                del self.heard[name]
                self.client.restart_workers([message["worker"]], raise_for_error=False)
                return

    def dismiss(self, address: str, reason: str) -> None:
        """Does without a worker, and submits its program again.

        Raises:
          UserError: there is no other worker.
        """
        print(f"the worker {address} is left out: {reason}", flush=True)
        self.client.retire_workers([address])
        if not set(self.client.scheduler_info(n_workers=-1)["workers"]) - {address}:
            raise UserError(f"no worker can train this sweep: {reason}")
        self.submit()

    def lost(self) -> Stopped:
        return Stopped(f"the scheduler {self.client.scheduler.address} was lost")

    def stop(self) -> None:
        """Asks the running tasks to save, and waits for that."""
        sweep = read_sweep(self.workdir)
        for program in unfinished(sweep):
            if (sweep.folder(program) / OWNER).exists():
                folder.write_text(sweep.folder(program) / OWNER, NONE)
        running = [future for name, future in self.futures.items() if name in self.heard]
        self.client.cancel([f for f in self.futures.values() if f not in running])
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not all(future.done() for future in running):
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """A client of the cluster, which is started here unless it runs already.

    Raises:
      UserError: no scheduler answers.
    """
    import dask

    dask.config.set({"logging.distributed": "critical"})  # what matters is said in lines of our own
    from distributed import Client

    for name in ("distributed", "distributed.client", "distributed.utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        at: Any
        if cluster.scheduler is None:
            at = stack.enter_context(started(cluster))
        elif Path(cluster.scheduler).is_file():
            at = None
        else:
            at = cluster.scheduler
        try:
            named = {"scheduler_file": cluster.scheduler} if at is None else {"address": at}
            client = stack.enter_context(Client(**named, timeout=PATIENCE, set_as_default=False))
        except (OSError, ValueError) as error:
            raise UserError(
                f"--scheduler={cluster.scheduler}: no Dask scheduler answers there; "
                "`dask scheduler` starts one and prints its address"
            ) from error
        yield client


@contextlib.contextmanager
def started(cluster: Cluster) -> Iterator[Any]:
    """The cluster, as it is started by this command and ends with it."""
    with jobs(cluster) if cluster.launcher in SCHEDULERS else processes(cluster) as own:
        yield own


def processes(cluster: Cluster):
    """Processes of this machine, which share its GPUs."""
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = gpus_here()
    workers = {
        i: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "env": worker_environment(os.environ | QUIET, i, cluster.workers, gpus),
                "memory_limit": None,  # Dask's would end a worker whose memory jax has taken
                "resources": {"GPU": 1} if gpus else None,
                "preload": "vae_jax.sweeps.preload",
                "silence_logs": logging.CRITICAL,
            },
        }
        for i in range(cluster.workers)
    }
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    return SpecCluster(workers, {"cls": Scheduler, "options": options}, name="vae_jax")


def jobs(cluster: Cluster):
    """A job of the batch scheduler for each worker."""
    import dask
    import dask_jobqueue

    own = {"cores": 4, "memory": "16GB"} | {
        key: value
        for key, value in dask.config.get(f"jobqueue.{cluster.launcher}").items()
        if key in ("cores", "memory") and value is not None
    }
    hours, minutes = divmod(cluster.minutes, 60)
    more: dict[str, Any] = {}
    if cluster.gpus:
        more["job_extra_directives"] = [f"--gpus-per-node={cluster.gpus}"]
        more["worker_extra_args"] = ["--resources", "GPU=1"]
    if cluster.partition:
        more["queue"] = cluster.partition
    made = getattr(dask_jobqueue, SCHEDULERS[cluster.launcher][0])(
        **own,
        processes=1,
        walltime=f"{hours:02d}:{minutes:02d}:00",
        job_name="vae_jax",
        **more,
    )
    made.scale(jobs=cluster.workers)
    return made


def worker_environment(
    environment: Mapping[str, str], worker: int, workers: int, gpus: list[str]
) -> dict[str, str]:
    """The environment of a worker: its share of the GPUs, and of a GPU's memory if shared."""
    own = dict(environment)
    if gpus:
        own["CUDA_VISIBLE_DEVICES"] = ",".join(
            gpus[worker::workers] if workers <= len(gpus) else [gpus[worker % len(gpus)]]
        )
        if workers > len(gpus):
            share = 0.9 / -(-workers // len(gpus))
            own.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{share:.3f}")
    return own


def gpus_here() -> list[str]:
    """The NVIDIA GPUs that this process may use; they are not initialised."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return [str(i) for i, _ in enumerate(filter(None, listed.splitlines()))]
