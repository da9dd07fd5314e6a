"""Run folders of earlier versions: what their files mean today.

A folder's environment.json, and each checkpoint, say which FORMAT they are of; none: 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from vae_jax.keys import Values

FORMAT = 2

# Config keys that came later, with the value that means what was done before.
ADDED: dict[str, Any] = {
    "evaluation.gaps.images": 100,  # metrics that there were not
    "evaluation.gaps.steps": 500,
    "evaluation.samples.features": "",
}
# Config keys that changed: each takes a flat config of any age to what it means today.
CHANGED: dict[str, Callable[[Values], Values]] = {}


def config_of_today(flat: Values) -> Values:
    """A folder's config, in today's keys."""
    for change in CHANGED.values():
        flat = change(flat)
    return ADDED | flat


class StateOfFormat1(NamedTuple):
    """State when there were no statistics, and a discriminator's params were beside the model's."""

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
    """The variables that the params are; `like`: which of them are a player's."""
    return {part: {name: params[name] for name in own} for part, own in like.items()}


def to_format_1(progress: Any) -> ProgressOfFormat1:
    """A Progress as it was saved then."""
    state, best, *others = progress
    return ProgressOfFormat1(
        StateOfFormat1(
            state.step, params_of_format_1(state.variables), state.opt_state, state.diverged_step
        ),
        BestOfFormat1(best.step, params_of_format_1(best.variables)),
        *others,
    )


def from_format_1(saved: ProgressOfFormat1, like: Any) -> Any:
    """A Progress of what was saved then; `like`: one of the same run."""
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
    """Today's."""
    return progress


# By format: (a Progress as it was saved then, what was saved then as a Progress).
PROGRESS: dict[int, tuple[Callable, Callable]] = {
    1: (to_format_1, from_format_1),
    FORMAT: (same, same),
}
