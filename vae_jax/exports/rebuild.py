"""The functions of an export without its programs: of its config, by the models of today."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.config.build import lane_spec
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data.dataset import without_images
from vae_jax.errors import UserError
from vae_jax.exports.folder import Description
from vae_jax.exports.functions import by_path, of_batch, shapes_of
from vae_jax.folders.formats import config_of_today
from vae_jax.models import make_model
from vae_jax.models.model import Start
from vae_jax.words import reason


class UnreadProgram(UserError):
    """A program that jax here can't read."""


def rebuilt(description: Description, unread: UnreadProgram) -> dict[str, Callable[..., Any]]:
    """The functions, as jax compiles them where they are called.

    Raises:
      UnreadProgram: `unread`, with why they can't be made: the model has parts that are not of
        vae_jax, a sampler as p(z), or other weights than the config says today.
    """
    try:
        return functions_of(description)
    except UserError as error:
        raise UnreadProgram(
            f"{unread}, and its functions can't be made anew ({reason(error)[:300]}): install "
            f"jax {description['jax']}"
        ) from error


def functions_of(description: Description) -> dict[str, Callable[..., Any]]:
    """The functions of the config, if its weights have these shapes.

    Raises:
      UserError: as `rebuilt` says.
    """
    flat = {k: tuple(v) if isinstance(v, list) else v for k, v in description["config"].items()}
    flat = config_of_today(flat)
    if own := [key for key, value in flat.items() if ":" in str(value)]:
        raise UserError(f"{own[0]} = {flat[own[0]]} is a part of the user's own")
    if description["sampler"] is not None:
        raise UserError(f"its p(z) is a fitted sampler, {description['sampler']}")
    config = check(nest(flat), idle_allowed=True)
    spec = lane_spec(config, without_images(description["dataset"])).model
    model, size = make_model(spec), math.prod(spec.image_shape)
    count = spec.abilities.examples
    start = Start(examples_nd=jnp.zeros((count, size)) if count else None)
    like = jax.eval_shape(lambda: model.init(jax.random.key(0), start))
    if shapes_of(by_path(like)) != description["params"]:
        raise UserError("its weights are not those of the model that the config says today")
    reads_labels = description["reads_labels"]
    return {
        name: jax.jit(of_batch(name, model, like, reads_labels=reads_labels))
        for name in description["functions"]
    }
