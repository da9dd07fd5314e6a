"""The evaluation of a run on other images, from Python."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from vae_jax.api.frames import results
from vae_jax.commands.evaluate_on import evaluate_on
from vae_jax.config.check import check
from vae_jax.config.import_members import import_anew
from vae_jax.config.schema import DATA_PATH, nest
from vae_jax.data.dataset import Dataset
from vae_jax.data.others import Others, given
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.sections.checks import path_of, written

if TYPE_CHECKING:
    from pandas import DataFrame


def evaluate_images(
    workdir: Path,
    data: Dataset | None,
    config: Mapping[str, Any],
    images: ArrayLike | os.PathLike[str],
    labels: ArrayLike | None,
    covariates: ArrayLike | None,
    keys: Mapping[str, Any] | None,
) -> "DataFrame":
    """What `Trained.evaluate` returns, of a run with these data and this config."""
    if data is None:
        raise UserError(
            "the images that the run was trained on are not where they were, and metrics fit to "
            "them: load(..., data_path=) says where they are"
        )
    if keys is not None and not isinstance(keys, Mapping):
        raise UserError(
            f"keys = {written(keys)} should be a dict, as {{'evaluation.metrics': ('nll',)}}"
        )
    if isinstance(images, str | os.PathLike):
        if labels is not None or covariates is not None:
            raise UserError("labels are for arrays; those of files are beside the images")
        what: Path | Others = path_of(os.fspath(images))
    else:
        what = given(images, labels, covariates)
    there, given_keys = folder.read_config(workdir), dict(keys or {})
    values = there.values | {DATA_PATH: config[DATA_PATH]} | given_keys
    members = import_anew(given_keys, there.members)
    return results(evaluate_on(workdir, check(nest(values), members), what))
