"""Dask clusters that train sweeps: processes of this machine, jobs, or one that runs already."""

import contextlib
import importlib.util
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vae_jax.errors import UserError
from vae_jax.words import to_install

if TYPE_CHECKING:
    from distributed import Client

# The batch schedulers of dask-jobqueue: its class, and the command that submits a job.
SCHEDULERS = {
    "slurm": ("SLURMCluster", "sbatch"),
    "pbs": ("PBSCluster", "qsub"),
    "sge": ("SGECluster", "qsub"),
    "lsf": ("LSFCluster", "bsub"),
}
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}
PATIENCE = 30  # seconds to wait for a scheduler that does not answer


class Cluster(NamedTuple):
    """Which cluster, and what each of its workers has."""

    launcher: str  # "local" or "dask": processes of this machine; else of SCHEDULERS
    workers: int
    scheduler: str | None = None  # the address, or the file, of one that runs already
    partition: str | None = None  # the queue
    minutes: int = 240
    gpus: int = 0


def refuse_without_dask(cluster: Cluster) -> None:
    """Raises UserError if the cluster can't be asked for from this machine."""
    packages = ["distributed", *(["dask_jobqueue"] if cluster.launcher in SCHEDULERS else [])]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--launcher={cluster.launcher} needs {package.replace('_', '-')}: "
                f"{to_install('cluster')}"
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


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator["Client"]:
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
        named: dict[str, Any]
        if cluster.scheduler is None:
            make = jobs if cluster.launcher in SCHEDULERS else processes
            named = {"address": stack.enter_context(make(cluster))}
        elif Path(cluster.scheduler).is_file():
            named = {"scheduler_file": cluster.scheduler}
        else:
            named = {"address": cluster.scheduler}
        try:
            client = stack.enter_context(Client(**named, timeout=PATIENCE, set_as_default=False))
        except (OSError, ValueError) as error:
            raise UserError(
                f"--scheduler={cluster.scheduler}: no Dask scheduler answers there; "
                "`dask scheduler` starts one and prints its address"
            ) from error
        yield client


def scheduler_address(client: "Client") -> str:
    """The address of the scheduler that a client is connected to."""
    assert client.scheduler is not None
    return str(client.scheduler.address)


def processes(cluster: Cluster) -> Any:
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


def jobs(cluster: Cluster) -> Any:
    """A job of the batch scheduler for each worker."""
    import dask
    import dask_jobqueue

    resources = {"cores": 4, "memory": "16GB"} | {
        key: value
        for key, value in dask.config.get(f"jobqueue.{cluster.launcher}").items()
        if key in ("cores", "memory") and value is not None
    }
    hours, minutes = divmod(cluster.minutes, 60)
    # A program takes all cores of its job, and jax more memory than Dask knows of.
    more: dict[str, Any] = {"worker_extra_args": ["--nthreads=1", "--memory-limit=0"]}
    if cluster.gpus:
        more["job_extra_directives"] = [f"--gpus-per-node={cluster.gpus}"]
        more["worker_extra_args"] += ["--resources=GPU=1"]
    if cluster.partition:
        more["queue"] = cluster.partition
    made = getattr(dask_jobqueue, SCHEDULERS[cluster.launcher][0])(
        **resources,
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
    variables = dict(environment)
    if gpus:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(
            gpus[worker::workers] if workers <= len(gpus) else [gpus[worker % len(gpus)]]
        )
        if workers > len(gpus):
            share = 0.9 / -(-workers // len(gpus))
            variables.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{share:.3f}")
    return variables


def gpus_here() -> list[str]:
    """The NVIDIA GPUs that this process may use; they are not initialised."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return [str(i) for i, _ in enumerate(filter(None, listed.splitlines()))]
