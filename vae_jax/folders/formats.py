"""Converts the files of earlier versions' run folders to the current format.

A folder's environment.json and each checkpoint state their FORMAT; without one, it is 1.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from vae_jax.sections.declare import Values

FORMAT = 3

# Config keys added since, with the value that reproduces the earlier behaviour.
ADDED: dict[str, Any] = {
    "model.encoder.inputs": "raw",
    "training.keep": "best",
    "training.ema_decay": 0.0,
    "evaluation.samplers": ("prior",),
    "evaluation.mixture.components": 10,
    "evaluation.sampler_steps": 5_000,
    "evaluation.sampler_width": 128,
    "objective.penalty": "none",
    "objective.penalty_weight": 1.0,
    "objective.critic.widths": (256, 256),  # any value, of these: there were no critics
    "objective.critic.learning_rate": 2e-4,
    "objective.critic.b1": 0.5,
    "objective.critic.b2": 0.999,
    "objective.critic.times": 1,
    "objective.generator.learning_rate": 3e-4,
    "objective.adaptive_contrast": True,
    "objective.gamma": 1.0,
    "model.posterior_noises": 8,
    "model.posterior_width": 64,
    "optimizer.skip_above": 0.0,
    "training.start_from": "",
    "training.trained": (),
    "training.precision": "device",
    "training.accumulate": 1,
    "dataset.layer": "",
    "dataset.broken": "refuse",
    "dataset.labels": "",
    "dataset.covariates": (),
    "model.likelihood_size_factor": "none",
    "model.likelihood_zero_inflated": False,
    "model.likelihood_dispersion": "example",
    "objective.temperature": 0.5,  # any value, of these: there was no discrete z
    "objective.temperature_start": 1.0,
    "objective.temperature_epochs": 0.0,
    "model.categories": 10,
    "model.levels": (8, 5, 5, 5),
    "model.causal.layers": 2,
    "model.causal.width": 64,
    "model.codebook.entries": 64,
    "model.codebook.width": 16,
    "model.codebook.stages": 1,
    "model.codebook.commitment": 0.25,
    "model.codebook.rule": "average",
    "model.codebook.decay": 0.99,
    "model.codebook.restart_below": 0.03,
    "objective.layer_free_bits": (),
    "objective.layer_beta": (),
    "objective.layer_warmup_epochs": (),
    "model.upper.latent_sizes": (10,),  # any value, of these: there were no such models
    "model.upper.widths": (100,),
    "model.upper.depth": 1,
    "model.upper.activation": "tanh",
    "model.upper.shared": True,
    "model.blocks.numbers": (1, 2, 2),
    "model.blocks.latents": 4,
    "model.blocks.width": 32,
    "model.blocks.bottleneck": 16,
    "model.blocks.encoder": 1,
    "model.blocks.stride": 2,
    "model.decoder.layers": 3,
    "model.decoder.features": 16,
    "model.decoder.kernel_size": 5,
    "training.patience": 0,
    "training.init_seed": -1,
    "training.order_seed": -1,
    "training.noise_seed": -1,
    "dataset.image_size": (),
    "dataset.in_memory": "yes",
    "dataset.augmentation": (),
    "dataset.image_column": "",
    "dataset.crop": 0.8,  # any value: there were no crops
    "dataset.shift": 2,  # any value: there were no shifts
    "evaluation.nll.images": 0,
    "evaluation.gaps.images": 100,  # any value: these metrics did not exist
    "evaluation.gaps.steps": 500,
    "evaluation.samples.features": "",
    "log.figures": (),
    "log.figure_format": ("png",),
    "log.figure_dpi": 110,
    "log.html": False,
    "log.wandb": False,
    "search.name": "halving",  # any value, as there were no searches
    "search.places": 16,
    "search.first_epochs": 1,
    "search.reduction": 3,
    "search.every_epochs": 1,
    "search.fraction": 0.2,
    "search.factor": 1.2,
}
# Config keys of earlier versions that are no more.
REMOVED = ("search.beside_random",)
# Config keys whose meaning changed: each function converts a flat config of any earlier version.
CHANGED: dict[str, Callable[[Values], Values]] = {}


def config_of_today(flat: Values) -> Values:
    """The flat config of a folder, converted to the current keys."""
    for change in CHANGED.values():
        flat = change(flat)
    return ADDED | {key: value for key, value in flat.items() if key not in REMOVED}


def metric_of_today(section: str) -> str:
    """The section that a metric was measured with, as it would be written today."""
    section = re.sub(
        r"^(Nll|NllActive)\((num_importance_samples=\d+)\)$", r"\1(\2, images=0)", section
    )
    of_prior = r"Samples(\1, samplers=('prior',), components=10)"
    section = re.sub(r"^Samples\((features=[^,]*)\)$", of_prior, section)
    without_flow = r"^(Samples\(.*, components=\d+)\)$"
    return re.sub(without_flow, r"\1, steps=5000, width=128)", section)


class StateOfFormat1(NamedTuple):
    """State without statistics, with a discriminator's params among those of the model."""

    step: Any
    params: Any
    opt_state: Any
    diverged_step: Any


class BestOfFormat1(NamedTuple):
    step: Any
    params: Any


class ProgressOfFormat1(NamedTuple):
    state: StateOfFormat1
    best: BestOfFormat1
    best_bound: Any
    wall_seconds: Any


def params_of_format_1(variables: dict[str, Any]) -> dict[str, Any]:
    return variables["params"] | variables["players"]


def variables_of_format_1(params: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Splits the params into the variables; `like` has the structure of the result."""
    return {part: {name: params[name] for name in names} for part, names in like.items()}


def to_format_1(progress: Any) -> ProgressOfFormat1:
    """A Progress in format 1."""
    state, best, *others = progress
    return ProgressOfFormat1(
        StateOfFormat1(
            state.step, params_of_format_1(state.variables), state.opt_state, state.diverged_step
        ),
        BestOfFormat1(best.step, params_of_format_1(best.variables)),
        *others,
    )


def from_format_1(saved: ProgressOfFormat1, like: Any) -> Any:
    """A Progress from one saved in format 1; `like`: a Progress of the same run."""
    state, best, *others = saved
    variables = variables_of_format_1(state.params, like.state.variables)
    return like._replace(
        state=like.state._replace(
            step=state.step,
            variables=variables,
            opt_state=state.opt_state,
            diverged_step=state.diverged_step,
        ),
        best=like.best._replace(
            step=best.step, variables=variables_of_format_1(best.params, like.best.variables)
        ),
        best_bound=others[0],
        wall_seconds=others[1],
    )


def same(progress: Any, like: Any = None) -> Any:
    """The current format needs no conversion."""
    return progress


# {format: (Progress -> its saved form, saved form and template -> Progress)}.
PROGRESS: dict[int, tuple[Callable, Callable]] = {
    1: (to_format_1, from_format_1),
    2: (same, same),  # without a checksum of what is saved beside a checkpoint
    FORMAT: (same, same),
}
