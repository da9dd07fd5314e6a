"""What a reader of a run's numbers should know about how it was trained."""

from collections.abc import Sequence
from typing import Any

from vae_jax.words import count

PASSED = 0.2  # of the epochs: validation has not improved for so long
LEAST_EPOCHS = 5  # of a run, to say so

Lane = dict[str, Any]  # of results.json


def of_training(lanes: Sequence[Lane]) -> list[str]:
    """A line for each thing that is unusual: lanes as bad as a guess, past their best, in warm-up.

    Lanes of earlier versions do not say what is needed for that.
    """
    healthy = [lane for lane in lanes if lane["status"] != "diverged" and "epochs" in lane]
    return [*worse_than_a_guess(healthy), *past_the_best(healthy), *in_warm_up(healthy)]


def of(found: Sequence[Lane], lanes: Sequence[Lane]) -> str:
    return f"{len(found)} of {count(len(lanes), 'lane')}"


def worse_than_a_guess(lanes: Sequence[Lane]) -> list[str]:
    found = [
        lane
        for lane in lanes
        if None not in (lane["bits_per_dim"], lane["uniform_bits"])
        and lane["bits_per_dim"] >= lane["uniform_bits"]
    ]
    if not found:
        return []
    worst = max(found, key=lambda lane: lane["bits_per_dim"])
    return [
        f"worse than a uniform guess ({worst['uniform_bits']:.2f} bits/dim): {of(found, lanes)}, "
        f"such as lane {worst['lane']} with {worst['bits_per_dim']:.2f}; train longer, or with a "
        "smaller learning rate"
    ]


def past_the_best(lanes: Sequence[Lane]) -> list[str]:
    found = [
        lane
        for lane in lanes
        if lane["epochs"] >= LEAST_EPOCHS
        and lane["epochs"] - lane["best_epoch"] >= PASSED * lane["epochs"]
    ]
    if not found:
        return []
    first = min(found, key=lambda lane: lane["best_epoch"])
    return [
        f"validation was best long before the end in {of(found, lanes)} (lane {first['lane']}: "
        f"epoch {first['best_epoch']:g} of {first['epochs']:g}): more epochs do not help; "
        "training.patience ends such a run sooner"
    ]


def in_warm_up(lanes: Sequence[Lane]) -> list[str]:
    found = [lane for lane in lanes if lane["warming_up"]]
    if not found:
        return []
    return [
        f"beta was still below its end value when training ended, in {of(found, lanes)} (epoch "
        f"{found[0]['epochs']:g}): make objective.warmup_epochs smaller, or training.num_epochs "
        "larger"
    ]
