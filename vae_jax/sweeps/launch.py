"""Starts the workers of a sweep: processes on this machine, or jobs of a SLURM cluster."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vae_jax.errors import Stopped, UserError


class Slurm(NamedTuple):
    """The resources that each job requests from SLURM."""

    partition: str | None
    minutes: int
    gpus: int


def launch_local(workdir: Path, workers: int) -> None:
    """Runs `workers` processes on this machine, and waits for them.

    Raises:
      Stopped: SIGTERM or SIGINT was received, and the workers were stopped; or a signal ended one.
      UserError: a worker ended with a UserError.
    """
    command = [sys.executable, "-m", "vae_jax", "sweep", f"--workdir={workdir}", "--worker"]
    gpus = gpus_here()
    processes = [
        subprocess.Popen(command, env=worker_environment(os.environ, i, workers, gpus))
        for i in range(workers)
    ]
    stopped = False

    def stop(number, frame):
        nonlocal stopped
        stopped = True
        # Ctrl-C also reaches the workers; a second signal would end them before they save.
        if number == signal.SIGTERM:
            for process in processes:
                process.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        codes = [process.wait() for process in processes]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    killed = [
        f"worker {i} was ended by {signal.Signals(-code).name}"
        for i, code in enumerate(codes)
        if code < 0
    ]
    if killed:
        raise Stopped(", ".join(killed))
    if stopped:
        raise Stopped("the workers were stopped and have saved")
    if 2 in codes:
        raise UserError("a worker could not go on; what it said is above")


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


def launch_slurm(workdir: Path, workers: int, slurm: Slurm, cluster: str | None = None) -> None:
    """Submits `workers` jobs, each running one worker, and waits for them.

    `cluster`: None for SLURM; "local" runs the jobs as processes here, as tests do.

    Raises:
      Stopped: a job failed, or this command was interrupted while the jobs continue.
    """
    executor = slurm_executor(workdir, slurm, cluster)
    with executor.batch():
        jobs = [executor.submit(slurm_worker, str(workdir.absolute())) for _ in range(workers)]
    print(f"submitted {', '.join(job.job_id for job in jobs)}; logs: {executor.folder}", flush=True)
    try:
        ended = [job.exception() for job in jobs]
    except KeyboardInterrupt as error:
        raise Stopped("the jobs work on without this command (scancel ends them)") from error
    if any(ended):
        raise Stopped(
            f"{sum(map(bool, ended))} of {workers} jobs did not end well; what they said is in "
            f"{executor.folder}"
        )


def refuse_without_slurm() -> None:
    """Raises UserError if jobs can't be submitted from this machine."""
    if importlib.util.find_spec("submitit") is None:
        raise UserError("--launcher=slurm needs submitit: pip install -e '.[slurm]'")
    if shutil.which("sbatch") is None:
        raise UserError(
            "--launcher=slurm: there is no SLURM on this machine (no sbatch); "
            "--launcher=local runs workers here"
        )


def slurm_executor(workdir: Path, slurm: Slurm, cluster: str | None):
    """A submitit executor; its jobs write logs into the sweep's folder."""
    import submitit

    executor = submitit.AutoExecutor(folder=workdir / "slurm", cluster=cluster or "slurm")
    executor.update_parameters(
        name="vae_jax", timeout_min=slurm.minutes, gpus_per_node=slurm.gpus, tasks_per_node=1
    )
    if slurm.partition and cluster is None:
        executor.update_parameters(slurm_partition=slurm.partition)
    return executor


def slurm_worker(workdir: str) -> None:
    """A job: trains programs until each is finished or claimed by another worker."""
    from vae_jax.devices.setup import pin, use_cache, use_cores
    from vae_jax.devices.watchdog import watched
    from vae_jax.sweeps.plan import Datasets
    from vae_jax.sweeps.worker import work

    pin()
    use_cores()
    use_cache()
    with watched():
        work(Path(workdir), Datasets(), wait=False)
