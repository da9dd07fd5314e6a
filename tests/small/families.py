"""Every member of every family, with what each needs to be trained on the tiny images."""

from vae_jax.config.listing import families

GREY = {"dataset.binarization": "none"}
SAMPLED = {"objective.kl": "sampled"}
SMALL = {
    "model.flow.layers": 2, "model.flow.width": 8, "model.prior_components": 5,
    "model.decoder.layers": 1, "model.decoder.features": 4, "model.decoder.kernel_size": 3,
    "model.causal.layers": 1, "model.causal.width": 8, "model.categories": 4,
    "model.codebook.entries": 8, "model.codebook.width": 2, "model.levels": (3, 3),
}  # fmt: skip
POINT = {
    "model.posterior": "deterministic", "objective.name": "rae",
    "objective.num_samples": 1, "evaluation.num_samples": 0,
}  # fmt: skip
CODE = {
    "model.posterior": "vq", "model.prior": "uniform",
    "objective.num_samples": 1, "evaluation.num_samples": 0,
}  # fmt: skip
DISCRETE = {
    "model.posterior": "categorical", "model.prior": "uniform",
    "objective.gradient": "leave_one_out",
}  # fmt: skip
ONE = {"objective.num_samples": 1, "evaluation.num_samples": 0}
AAE = POINT | {"objective.name": "aae", "training.keep": "last"}
AVB = {"objective.name": "avb", "model.posterior": "implicit"}
M2 = {"model.name": "m2", "objective.name": "m2", "dataset.num_labels": 30}
NEEDS = {
    # The tiny images have a grid of 3 x 3 places.
    ("model.encoder.name", "grid"): {"model.latent_size": 9},
    ("model.decoder.name", "grid"): {"model.latent_size": 9},
    ("model.name", "m2"): M2 | {"training.labelled_per_batch": 5},
    ("model.name", "hierarchy"): SAMPLED,
    ("model.name", "top_down"): {"model.blocks.width": 8, "model.blocks.bottleneck": 4},
    ("model.name", "two_layers"): SAMPLED | {"model.top.latent_size": 2},
    ("model.likelihood", "beta"): GREY,
    ("model.likelihood", "categorical"): GREY,
    ("model.likelihood", "continuous_bernoulli"): GREY,
    ("model.likelihood", "discretized_logistic"): GREY,
    ("model.likelihood", "discretized_logistic_mixture"): GREY,
    ("model.likelihood", "negative_binomial"): GREY,
    ("model.likelihood", "poisson"): GREY,
    ("model.prior", "autoregressive"): SAMPLED,
    ("model.prior", "categorical"): DISCRETE,
    ("model.prior", "causal"): CODE,
    ("model.prior", "mixture"): SAMPLED,
    ("model.prior", "realnvp"): SAMPLED,
    ("model.prior", "uniform"): DISCRETE,
    ("model.prior", "vampprior"): SAMPLED,
    ("model.posterior", "categorical"): DISCRETE,
    ("model.posterior", "fsq"): CODE,
    ("model.posterior", "vq"): CODE,
    ("model.codebook.rule", "average"): CODE,
    ("model.codebook.rule", "gradient"): CODE,
    ("model.posterior", "inverse_autoregressive"): SAMPLED,
    ("model.posterior", "mixture"): SAMPLED,
    ("model.posterior", "planar"): SAMPLED,
    ("model.posterior", "deterministic"): POINT,
    ("model.posterior", "implicit"): AVB,
    ("objective.name", "aae"): AAE,
    ("objective.name", "avb"): AVB,
    # Losses of features can be compared where these hardly move.
    ("objective.name", "vae_gan"): {"training.keep": "last", "objective.gamma": 1e-3}
    | {"objective.critic.learning_rate": 1e-6},
    ("objective.name", "wae_gan"): AAE,
    ("objective.name", "m2"): M2,
    ("objective.name", "rae"): POINT,
    ("objective.penalty", "gradient"): POINT,
    ("objective.penalty", "l2"): POINT,
    ("objective.gradient", "doubly_reparameterized"): {"objective.name": "iwae"},
    ("objective.gradient", "disarm"): DISCRETE | {"model.categories": 2},
    ("objective.gradient", "exact"): DISCRETE | ONE,
    ("objective.gradient", "leave_one_out"): DISCRETE,
    ("objective.gradient", "relaxed"): DISCRETE,
    ("objective.gradient", "straight_through"): DISCRETE,
    ("objective.gradient", "sticking_the_landing"): SAMPLED,
    ("objective.gradient", "wake_sleep"): {"objective.name": "iwae"},
    ("objective.gradient", "wake_wake"): {"objective.name": "iwae"},
}
SEVERAL = {"objective.num_samples": 4, "evaluation.num_samples": 4, "objective.num_groups": 2}
WEIGHTS = {"objective.regularizer_weight": 0.5, "objective.corruption_amount": 0.2}
HOST = (
    "dataset.name", "dataset.binarization", "optimizer.name", "optimizer.schedule.name",
    "evaluation.metrics", "evaluation.samplers", "log.figures",
)  # fmt: skip
SEVERAL_NAMES = ("dataset.augmentation",)  # keys of any number of members
MEMBERS = [
    (key, name)
    for key, own in families().items()
    if key not in HOST
    for name in sorted(own.choices)
]
