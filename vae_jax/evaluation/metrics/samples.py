"""The metric of what the model generates."""

import math

import jax
import jax.numpy as jnp

from vae_jax.evaluation import features
from vae_jax.evaluation.features import FeatureSpace
from vae_jax.evaluation.metrics.metric import Arrays, Column, Metric, Numbers, Subject
from vae_jax.evaluation.sample_quality import sample_quality


def samples_measure(spec: tuple[str, str], hyper, model, params, key, x_bd):
    """An x that the model makes, stored as the data are; x itself has no part in it."""
    z_key, x_key = jax.random.split(key)
    made_bd = model.sample(x_key, model.decode(params, model.prior_sample(z_key, params, 1)))
    if spec[0] == "uint8":
        made_bd = jnp.clip(jnp.round(255 * made_bd), 0, 255).astype(jnp.uint8)
    return {"made": made_bd}


def feature_space(subject: Subject) -> FeatureSpace:
    """The one that the config names, or one trained on this run's training set, and kept."""
    given, data = subject.values["evaluation.samples.features"], subject.data
    path = subject.folder / "features.npz"
    if given or path.exists():
        return features.load(given or path, data.image_shape)
    print("samples: training the feature space", flush=True)
    space = features.train_features(
        jax.random.key(subject.values["dataset.binarization_seed"]),
        data.train.images,
        data.train.labels,
        data.image_shape,
        binarize=data.dynamic,
    )
    path.parent.mkdir(exist_ok=True)
    features.save(path, space)
    return space


def samples_summary(arrays: Arrays, subject: Subject) -> list[Numbers]:
    """As many drawn images as the test set has, beside it, in a space of features trained here."""
    space = feature_space(subject)
    real_nf, name = features.features(space, subject.data.test.images), features.checksum(space)
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
    spec=lambda subject: (
        str(subject.data.test.images.dtype),
        subject.values["evaluation.samples.features"],
    ),
    cost=lambda subject: f"{math.prod(subject.data.image_shape):,} numbers drawn",
)
