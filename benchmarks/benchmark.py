"""How fast is this code, compared with the same model in other code, and with the machine's floor?

    pip install -e '.[benchmark]' && python -m benchmarks

trains the VAE of each Work of systems.py in each system there that supports it and is installed
(this code, and the peers of peers.py). Each trains in a process of its own, one after another, and
all of this is done `--rounds` times. It prints milliseconds per step; seconds per epoch, if that is
all 55,000 images; the ratio to this code; the fraction of the machine's floor (ceilings.py) that is
reached; seconds from the start of the process to the end of the first step; the host's peak memory;
and the last loss, which shows that the same thing was trained. Then it times the command line
itself. The numbers are also written as JSON under benchmarks/results/, named by benchmark, machine
and time. It takes about an hour on two cores (12 minutes a round). In each round, an epoch's time
is the median of EPOCHS epochs, without the first. The shortest of the rounds is printed, as a
machine may be shared and noisy.

    --works=NAME,...     of systems.WORKS        --rounds=5
    --systems=NAME,...   of systems.SYSTEMS, beside vae_jax
    --compare=FILE       such JSON of an earlier run: lists what has become over 15% slower,
                         compared with a peer or with our matrix products; exit code 1 if any

`python -m benchmarks sweep`, `objectives`, `networks`, `models`, `evaluation`, `startup` and
`kernels` run the benchmarks in the files of these names. `python -m benchmarks.gpu` is for a GPU.

What was found (the numbers are in docs/speed_log.md): five matrix products take three quarters of
a step of 784-400-20, and every system runs them at about the same rate on a CPU. jax.profiler,
which on a CPU names every operation and its core, showed the other costs. They were removed in this
order (parts of a step at 784-400-20, batch 128, and at 784-512-2, batch 50; machine there):

- 7% and 10%: a `where` between old and new params and moments, for lanes that diverge, made XLA
  copy the moments and compute them twice. Now the `where` is on the gradient and the rate.
- 5% and 4%: jax's random bits are loops of small passes on a CPU. As one expression (threefry.py)
  they take a third of the time, but only if x is carried from one step to the next. Otherwise XLA
  computes x again in each of the four places that read it. A minibatch made ahead also fills idle
  cores.
- 2% and 4%: one product for both heads of the encoder; thin products reach 70 of 210 GFLOP/s.
- 1% and 4%: one division per parameter in Adam's pass, instead of three.
- 1% and 2%: the order of the training set was sorted for every chunk of steps (22 ms).
- Before: sampling two pixels from each random word, 8%; a single lane without vmap, up to a third;
  one batch axis in the decoder instead of two, which XLA transposed.
- A transposed convolution as one product of windows, instead of sixteen shifted sums: a quarter of
  a convolutional step.

Without effect: other layouts of the products (a transposed weight is 30% faster backward at batch
20, and as much slower forward), optimisation barriers (XLA removes them before it fuses), half as
many hashes for the pixels, jax's `rbg` keys (JAX_DEFAULT_PRNG_IMPL=rbg works but takes 8% longer on
a CPU, and a lane under vmap then differs from the same run alone). The gradient's norm, for which
all of Adam waited, was 3 to 8% of a step at batch 50 and 20. Now a step checks only its loss, and
the chunk in which a lane diverged is taken again.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import ceilings, evaluation, kernels, models, networks, objectives, startup, sweep
from benchmarks.machine import leave, slug
from benchmarks.systems import SYSTEMS, best, in_a_process, missing
from benchmarks.work import WHOLE, WORKS, Work
from vae_jax.errors import UserError, choose
from vae_jax.words import aligned, reason

OURS = "vae_jax"
PRODUCTS = "its products"


def table(work: Work, results: dict[str, Any]) -> str:
    """Sorted by time. ratio: how many times as long as this code; floor: its part of that time."""
    rows: dict[str, dict[str, float]] = dict(results["systems"])
    ours, rates = rows[OURS]["step_milliseconds"], results["ceilings"]
    floor = rates["floor_milliseconds"]
    rows["floor"] = {"step_milliseconds": floor}
    if "products_milliseconds" in rates:
        rows[PRODUCTS] = {"step_milliseconds": rates["products_milliseconds"]}
    lines = [["", "ms/step", "s/epoch", "ratio", "of floor", "first step, s", "peak MB", "loss"]]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["step_milliseconds"]):
        step = row["step_milliseconds"]
        epoch = f"{step * work.steps / 1_000:.2f}" if work.images == WHOLE else ""
        more = [""] * 3
        if "loss" in row:
            first, megabytes = row["first_step_seconds"], row["peak_memory_mb"]
            more = [f"{first:.1f}", f"{megabytes:.0f}", f"{row['loss']:.2f}"]
        line = [name, f"{step:.3f}", epoch, f"{step / ours:.2f}", f"{floor / step:.2f}", *more]
        lines.append(line)
    last = (
        f"floor: {rates['flops'] / 1e6:.0f} MFLOP at {rates['gflops']:.0f} GFLOP/s and "
        f"{rates['bytes'] / 1e6:.1f} MB at {rates['gigabytes_per_second']:.0f} GB/s"
    )
    return "\n".join([*aligned(lines, left={0}), last])


def measure(work: Work, systems: Sequence[str], rounds: int) -> dict[str, Any]:
    """The machine's ceilings and each system's times: the best of the rounds, all taking turns.

    A peer that fails is left out with a sentence.
    """
    rows: dict[str, list[dict[str, float]]] = {system: [] for system in systems}
    rates = []
    for _ in range(rounds):
        rates.append(ceilings.in_a_process(work))
        for system in list(rows):
            try:
                rows[system].append(in_a_process(system, work))
            except RuntimeError as error:
                if system == OURS:
                    raise
                why = (str(error).strip() or "killed").splitlines()[-1]
                print(f"{system} is left out of {work.name}: {why}")
                del rows[system]
    highest = ceilings.best(rates)
    counts = ceilings.counts(work)
    highest |= {"flops": counts.flops, "bytes": counts.bytes}
    highest["floor_milliseconds"] = ceilings.floor_milliseconds(
        work, highest["gflops"], highest["gigabytes_per_second"]
    )
    return {
        "title": work.title,
        "ceilings": highest,
        "systems": {system: best(times) for system, times in rows.items()},
    }


def ratios(works: dict[str, Any]) -> dict[str, float]:
    """How many times as long as each peer, and as its own products alone, this code takes."""
    by_row: dict[str, float] = {}
    for name, results in works.items():
        others = {system: row["step_milliseconds"] for system, row in results["systems"].items()}
        ours = others.pop(OURS)
        if "products_milliseconds" in results["ceilings"]:
            others[PRODUCTS] = results["ceilings"]["products_milliseconds"]
        by_row |= {f"{name}: {OURS} to {other}": ours / time for other, time in others.items()}
    return by_row


def slower(
    recorded: dict[str, float], now: dict[str, float], tolerance: float = 0.15
) -> dict[str, tuple[float, float]]:
    """The rows of both whose ratio has grown by more than the tolerance: then, and now."""
    return {
        row: (recorded[row], ratio)
        for row, ratio in now.items()
        if row in recorded and ratio > recorded[row] * (1 + tolerance)
    }


def record(path: str) -> tuple[dict[str, float], str]:
    """The ratios that an earlier run left, and its machine.

    Raises:
      UserError: it is no such file.
    """
    try:
        report = json.loads(Path(path).read_text())
        return ratios(report["works"]), slug(report["machine"])
    except OSError as error:
        raise UserError(f"--compare={path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"--compare={path} is not JSON that `python -m benchmarks` left") from error


def compare(recorded: dict[str, float], now: dict[str, float]) -> int:
    """Prints the rows that became slower; the exit code."""
    rows, shared = slower(recorded, now), recorded.keys() & now.keys()
    for row, (before, after) in rows.items():
        print(f"slower: {row}: {after:.2f}, recorded {before:.2f}")
    print(f"{len(rows)} of {len(shared)} ratios are over 15% slower than recorded")
    if left := len(recorded) - len(shared):
        print(f"{left} recorded ratios were not measured now")
    return 1 if rows else 0


def chosen(table: dict[str, Any], names: list[str] | None, flag: str) -> list[str]:
    """The names of the table that a flag gave, or all.

    Raises:
      UserError: an unknown one.
    """
    for name in names or ():
        choose(table, name, flag)
    return [name for name in table if names is None or name in names]


def parse(arguments: Sequence[str]) -> flags.FlagValues:
    """The flags of a command.

    Raises:
      UserError: an unknown flag or argument.
    """
    values = flags.FlagValues()
    flags.DEFINE_list("works", None, "names of WORKS; none: all", flag_values=values)
    flags.DEFINE_list("systems", None, "names of SYSTEMS; none: all", flag_values=values)
    flags.DEFINE_integer("rounds", 5, "alternations", lower_bound=1, flag_values=values)
    flags.DEFINE_string("compare", None, "an earlier run's JSON", flag_values=values)
    try:
        extra = values(["benchmark", *arguments])[1:]
    except flags.Error as error:
        raise UserError(reason(error)) from error
    if extra:
        raise UserError(
            f"there is no benchmark {extra[0]!r}; there are: {', '.join(OTHERS)}; without a name, "
            "all systems are compared"
        )
    return values


def run(arguments: Sequence[str]) -> int:
    """The benchmark; the exit code."""
    values = parse(arguments)
    by_name = {work.name: work for work in WORKS}
    works = [by_name[name] for name in chosen(by_name, values.works, "--works")]
    single = {name: entry for name, entry in SYSTEMS.items() if "lanes" not in name}
    asked = values.systems and [OURS, *values.systems]
    systems = chosen(single, asked, "--systems")
    recorded, machine = record(values.compare) if values.compare else ({}, "")
    if values.compare and not any(
        row.startswith(f"{work.name}: ") for row in recorded for work in works
    ):
        raise UserError(f"--compare={values.compare} has none of these works")
    for system in list(systems):
        if lacks := missing(system):
            print(f"{system} is left out: {', '.join(lacks)} is not installed")
            systems.remove(system)
    results: dict[str, Any] = {"works": {}}
    for work in works:
        taking = [system for system in systems if SYSTEMS[system].takes(work)]
        result = measure(work, taking, values.rounds)
        results["works"][work.name] = result
        print(f"\n{work.title}\n{table(work, result)}", flush=True)
    if not (values.works or values.systems or values.compare):
        results["startup"] = startup.measure(values.rounds)
        print("\nvae-jax train --config=configs/default.py, one epoch")
        print(startup.table(results["startup"]))
    report = leave("systems", results)
    if not values.compare:
        return 0
    if machine != slug(report["machine"]):
        print(f"recorded on another machine, {machine}")
    return compare(recorded, ratios(results["works"]))


OTHERS = {
    "sweep": sweep.main,
    "objectives": objectives.main,
    "models": models.main,
    "networks": networks.main,
    "evaluation": evaluation.main,
    "startup": startup.main,
    "kernels": kernels.main,
}


def main(arguments: Sequence[str]) -> int:
    """Exit codes: 0 done; 1 slower than recorded; 2 a mistake in the command or its file."""
    if {"--help", "-h"} & set(arguments):
        print(__doc__)
        return 0
    if len(arguments) == 1 and arguments[0] in OTHERS:
        OTHERS[arguments[0]]()
        return 0
    try:
        return run(arguments)
    except UserError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
