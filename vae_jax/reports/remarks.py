"""What a reader of a run's numbers should know about how it was trained."""

from collections.abc import Sequence
from typing import Any

from vae_jax.words import count, page

PASSED = 0.2  # of the epochs: validation has not improved for so long
LEAST_EPOCHS = 5  # of a run, to say so

Lane = dict[str, Any]  # of results.json


def of_training(lanes: Sequence[Lane]) -> list[str]:
    """A line for each thing that is unusual: lanes as bad as a guess, past their best, in warm-up.

    Lanes of earlier versions do not say what is needed for that.
    """
    healthy = [lane for lane in lanes if lane["status"] != "diverged" and "epochs" in lane]
    return [*worse_than_a_guess(healthy), *past_the_best(healthy), *in_warm_up(healthy)]


def of(affected: Sequence[Lane], lanes: Sequence[Lane]) -> str:
    return f"{len(affected)} of {count(len(lanes), 'lane')}"


def worse_than_a_guess(lanes: Sequence[Lane]) -> list[str]:
    affected = [
        lane
        for lane in lanes
        if None not in (lane["bits_per_dim"], lane["uniform_bits"])
        and lane["bits_per_dim"] >= lane["uniform_bits"]
    ]
    if not affected:
        return []
    worst = max(affected, key=lambda lane: lane["bits_per_dim"])
    return [
        f"worse than a uniform guess ({worst['uniform_bits']:.2f} bits/dim): "
        f"{of(affected, lanes)}, such as lane {worst['lane']} with {worst['bits_per_dim']:.2f}; "
        f"train longer, or with a smaller learning rate: {page('troubles#worse-than-a-guess')}"
    ]


def past_the_best(lanes: Sequence[Lane]) -> list[str]:
    affected = [
        lane
        for lane in lanes
        if lane["epochs"] >= LEAST_EPOCHS
        and lane["epochs"] - lane["best_epoch"] >= PASSED * lane["epochs"]
    ]
    if not affected:
        return []
    first = min(affected, key=lambda lane: lane["best_epoch"])
    return [
        f"validation was best long before the end in {of(affected, lanes)} (lane {first['lane']}: "
        f"epoch {first['best_epoch']:g} of {first['epochs']:g}); more epochs do not help, and "
        "training.patience stops such a run earlier"
    ]


def in_warm_up(lanes: Sequence[Lane]) -> list[str]:
    affected = [lane for lane in lanes if lane["warming_up"]]
    if not affected:
        return []
    return [
        f"beta had not reached its end value when training ended, in {of(affected, lanes)} (epoch "
        f"{affected[0]['epochs']:g}); make objective.warmup_epochs smaller, or training.num_epochs "
        "larger"
    ]
