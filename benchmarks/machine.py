"""Describes the machine that a benchmark runs on, and writes the benchmark's file."""

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from vae_jax.devices.pool import cores

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def accelerator() -> str | None:
    """The name of the GPU or TPU that jax computes on. Takes its memory: for a benchmark's end."""
    import jax

    device = jax.devices()[0]
    return None if device.platform == "cpu" else device.device_kind


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that are compared, where they are installed."""
    packages = (
        *("jax", "jaxlib", "flax", "optax", "numpy", "numpyro", "torch", "pythae"),
        *("keras", "tensorflow-cpu", "tensorflow"),
    )
    by_name = {"python": platform.python_version()}
    for package in packages:
        try:
            by_name[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return by_name


def machine() -> dict[str, Any]:
    """What a benchmark's file says of the machine."""
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "accelerator": accelerator(),
    }


def peak_megabytes(ru_maxrss: int) -> float:
    """The peak memory that the system tells in resource usage: in KiB, but on macOS in bytes."""
    return ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def slug(machine: dict[str, Any]) -> str:
    """Its name as part of a file's: the accelerator's, or the processor's and its cores."""
    name = machine["accelerator"] or f"{machine['processor']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write_report(name: str, report: dict[str, Any]) -> Path:
    """Writes the report as JSON under RESULTS, and returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    temporary = path.with_name(f".{name}.tmp")
    temporary.write_text(json.dumps(report, indent=2) + "\n")
    os.replace(temporary, path)
    return path


def leave_as(benchmark: str) -> Callable[[dict[str, Any]], Path]:
    """A function that writes what a benchmark found so far into one file, named by the start."""
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    digits = re.sub(r"\D", "", began)

    def write(results: dict[str, Any]) -> Path:
        report = {"date": began, "platform": platform.platform(), "versions": versions()} | results
        return write_report(f"benchmark-{benchmark}-{digits}.json", report)

    return write


def leave(benchmark: str, results: dict[str, Any]) -> dict[str, Any]:
    """Writes what a benchmark found, where, when and with what, as JSON under RESULTS.

    Prints where, and returns it. A later run never writes over an earlier one's.
    """
    report = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": machine(),
        "versions": versions(),
    } | results
    digits = re.sub(r"\D", "", report["date"])
    path = write_report(f"benchmark-{benchmark}-{slug(report['machine'])}-{digits}.json", report)
    print(f"\n{path}")
    return report
