"""The metric of what the model generates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from vae_jax.evaluation import features
from vae_jax.evaluation.features import FeatureSpace
from vae_jax.evaluation.sample_quality import sample_quality
from vae_jax.runs.metrics.metric import FOLDER, Arrays, Column, Metric, Numbers

if TYPE_CHECKING:
    from vae_jax.runs.plan import Run


def samples_measure(spec: tuple[str, str], hyper, model, params, key, x_bd):
    """An x that the model makes, stored as the data are; x itself has no part in it."""
    z_key, x_key = jax.random.split(key)
    made_bd = model.sample(x_key, model.decode(params, model.prior_sample(z_key, params, 1)))
    if spec[0] == "uint8":
        made_bd = jnp.clip(jnp.round(255 * made_bd), 0, 255).astype(jnp.uint8)
    return {"made": made_bd}


def feature_space(run: Run) -> FeatureSpace:
    """The one that the config names, or one trained on this run's training set, and kept."""
    given, data = run.values["evaluation.samples.features"], run.data
    path = run.workdir / FOLDER / "features.npz"
    if given or path.exists():
        return features.load(given or path, data.image_shape)
    print("samples: training the feature space", flush=True)
    space = features.train_features(
        jax.random.key(run.values["dataset.binarization_seed"]),
        data.train.images,
        data.train.labels,
        data.image_shape,
        binarize=data.dynamic,
    )
    path.parent.mkdir(exist_ok=True)
    features.save(path, space)
    return space


def samples_summary(arrays: Arrays, run: Run) -> list[Numbers]:
    """As many drawn images as the test set has, beside it, in a space of features trained here."""
    space = feature_space(run)
    real_nf, name = features.features(space, run.data.test.images), features.checksum(space)
    return [
        sample_quality(real_nf, features.features(space, made_nd))._asdict()
        | {"feature_space": name}
        for made_nd in arrays["made"]
    ]


samples = Metric(
    measure=samples_measure,
    summary=samples_summary,
    columns=(
        Column("precision", 3),
        Column("recall", 3),
        Column("density", 3),
        Column("coverage", 3),
        Column("frechet_distance"),
    ),
    spec=lambda run: (
        str(run.data.test.images.dtype),
        run.values["evaluation.samples.features"],
    ),
    cost=lambda run: f"{math.prod(run.data.image_shape):,} numbers drawn",
)
