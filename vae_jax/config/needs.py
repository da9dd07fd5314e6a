"""Which choices go together: what is refused before anything is loaded or compiled."""

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.evaluation import features
from vae_jax.objectives.importance import BOUNDS, ESTIMATORS
from vae_jax.probability.divergences import KL_DIVERGENCES
from vae_jax.probability.likelihoods import LIKELIHOODS

Values = dict[str, Any]

# Posteriors whose density is known of their own draws alone.
DRAWS_ONLY = ("inverse_autoregressive", "planar")
# Metrics that are log p(x), or a distance from it.
OF_LIKELIHOOD = ("ais", "gaps", "nll", "nll_active")
# Priors and posteriors, of a plain VAE, of which a latent unit can be masked.
MASKED_PRIORS, MASKED_POSTERIOR = ("learned_gaussian", "standard_normal"), "diagonal"
# What a metric needs that is not always installed.
EXTRAS = {"ais": "blackjax", "disentanglement": "sklearn", "probes": "sklearn"}
# Regularisers of a diagonal Gaussian q(z | x).
OF_DIAGONAL = ("dip_ii", "total_correlation_stratified", "total_correlation_weighted")


def refuse_combination(values: Values) -> None:
    """Raises UserError for choices that do not go together, in one sentence."""
    for problem in problems(values):
        raise UserError(problem)


def problems(values: Values) -> Iterator[str]:
    """What is wrong with the choices, a sentence each."""
    yield from of_model(values)
    yield from of_gradient(values)
    yield from of_objective(values)
    yield from of_regularizer(values)
    yield from of_metrics(values)


def of_model(values: Values) -> Iterator[str]:
    name, prior, posterior = values["model.name"], values["model.prior"], values["model.posterior"]
    labels = values["model.conditional"] or name == "m2"
    if (name == "m2") != (values["objective.name"] == "m2"):
        yield (
            f"model.name = {name!r} does not go with objective.name = "
            f"{values['objective.name']!r}: the model 'm2' and the objective 'm2' belong together"
        )
    if name == "m2" and values["model.conditional"]:
        yield "model.name = 'm2' infers the labels itself; model.conditional should be False"
    if name == "two_layers" and (prior, posterior) != ("standard_normal", "diagonal"):
        yield (
            "model.name = 'two_layers' has a prior and a posterior of its own; model.prior should "
            "be 'standard_normal' and model.posterior 'diagonal'"
        )
    if name == "two_layers" and values["model.conditional"]:
        yield "model.name = 'two_layers' takes no labels; model.conditional should be False"
    if prior == "vampprior" and posterior != "diagonal":
        yield (
            f"model.prior = 'vampprior' is a mixture of diagonal posteriors; model.posterior = "
            f"{posterior!r} should be 'diagonal'"
        )
    if prior == "vampprior" and labels:
        yield "model.prior = 'vampprior' has pseudo-inputs without labels; take another prior"
    if prior == "realnvp" and values["model.latent_size"] < 2:
        yield (
            "model.prior = 'realnvp' couples two halves of z; model.latent_size = 1 can't be "
            "split, it should be at least 2"
        )
    for key in ("dataset.num_labels", "training.labelled_per_batch"):
        if values[key] and name != "m2":
            yield f"{key} = {values[key]} is for model.name = 'm2'; it should be 0"
    if values["training.labelled_per_batch"] > values["training.batch_size"]:
        yield (
            f"training.labelled_per_batch = {values['training.labelled_per_batch']} should be at "
            f"most training.batch_size = {values['training.batch_size']}"
        )


def has_closed_form(values: Values) -> bool:
    """Whether KL(q(z | x) || p(z)) is known."""
    pair = (values["model.posterior"], values["model.prior"])
    return pair in KL_DIVERGENCES and values["model.name"] != "two_layers"


def of_gradient(values: Values) -> Iterator[str]:
    name, gradient = values["objective.name"], values["objective.gradient"]
    known = {"elbo": ("reparameterized", "sticking_the_landing"), "m2": ("reparameterized",)}
    of_bounds = [e for e in ESTIMATORS if name == "iwae" or not e.startswith("wake")]
    fitting = known.get(name, tuple(of_bounds))
    if gradient not in fitting:
        why = ""
        if gradient == "sticking_the_landing" and name in BOUNDS:
            why = " (it is biased for a bound of several draws; doubly_reparameterized is not)"
        yield (
            f"objective.gradient = {gradient!r} does not fit objective.name = {name!r}{why}; it "
            f"should be {' or '.join(fitting)}"
        )
    if gradient == "sticking_the_landing" and values["objective.kl"] != "sampled":
        yield (
            "objective.gradient = 'sticking_the_landing' is about the sampled log q(z | x); "
            "objective.kl should be 'sampled'"
        )
    if gradient != "reparameterized" and values["model.posterior"] in DRAWS_ONLY:
        yield (
            f"objective.gradient = {gradient!r} needs log q(z | x) of a given z, which "
            f"model.posterior = {values['model.posterior']!r} knows of its own draws alone; "
            "objective.gradient should be 'reparameterized'"
        )


def of_objective(values: Values) -> Iterator[str]:
    name, kl = values["objective.name"], values["objective.kl"]
    if name in ("elbo", "m2") and kl == "analytic" and not has_closed_form(values):
        of = (
            "model.name = 'two_layers'"
            if values["model.name"] == "two_layers"
            else f"model.posterior = {values['model.posterior']!r} and model.prior = "
            f"{values['model.prior']!r}"
        )
        yield f"objective.kl = 'analytic' has no closed form for {of}; it should be 'sampled'"
    groups = values["objective.num_groups"]
    if name in ("miwae", "piwae"):
        for key in ("objective.num_samples", "evaluation.num_samples"):
            if values[key] % groups:
                yield f"objective.num_groups = {groups} should divide {key} = {values[key]}"
    if name != "elbo":
        for key in ("objective.free_bits", "objective.capacity"):
            if values[key]:
                yield f"{key} = {values[key]:g} is for objective.name = 'elbo'; it should be 0"
    group = values["objective.free_bits_group"]
    if kl == "sampled" and (group > 1 or (group and values["objective.free_bits"])):
        yield (
            "objective.free_bits of a sampled KL are for all latent units together; "
            "objective.free_bits_group should be 0"
        )
    if group and values["model.latent_size"] % group:
        yield (
            f"objective.free_bits_group = {group} should divide model.latent_size = "
            f"{values['model.latent_size']}"
        )
    corruption, amount = values["objective.corruption"], values["objective.corruption_amount"]
    if corruption in ("masking", "salt_and_pepper") and amount > 1:
        yield (
            f"objective.corruption_amount = {amount:g} is a chance for objective.corruption = "
            f"{corruption!r}; it should be at most 1"
        )


def of_regularizer(values: Values) -> Iterator[str]:
    regularizer, model = values["objective.regularizer"], values["model.name"]
    if regularizer == "none":
        return
    head = f"objective.regularizer = {regularizer!r}"
    if model == "m2" or (model == "two_layers" and regularizer not in ("mmd", "dip_i")):
        yield f"{head} is not for model.name = {model!r}; it should be 'none'"
    if regularizer in OF_DIAGONAL and values["model.posterior"] != "diagonal":
        yield (
            f"{head} is written for a diagonal Gaussian; model.posterior = "
            f"{values['model.posterior']!r} should be 'diagonal'"
        )
    if values["training.batch_size"] < 2:
        yield f"{head} is of a minibatch; training.batch_size = 1 should be at least 2"


def of_metrics(values: Values) -> Iterator[str]:
    wanted = values["evaluation.metrics"]
    own = (values["model.name"], values["model.prior"], values["model.posterior"])
    for metric in (*OF_LIKELIHOOD, "samples"):
        if metric in wanted and own[0] == "m2":
            yield (
                f"evaluation.metrics = {metric!r} is by draws of z alone, and model.name = 'm2' "
                "has labels to draw too; leave it out"
            )
    if "gaps" in wanted and own[0] == "two_layers":
        yield (
            "evaluation.metrics = 'gaps' fits q(z | x) to an image, and that of model.name = "
            "'two_layers' has a network in it; leave it out"
        )
    written_for = {
        "surgery": (("standard_normal",), "diagonal"),
        "nll_active": (MASKED_PRIORS, MASKED_POSTERIOR),
    }
    for metric, (priors, posterior) in written_for.items():
        fits = own[0] == "vae" and own[1] in priors and own[2] == posterior
        if metric in wanted and not fits:
            yield (
                f"evaluation.metrics = {metric!r} is written for model.name = 'vae' with a "
                f"{posterior} posterior and the {' or '.join(priors)} prior; these are "
                f"{own[0]!r}, {own[2]!r} and {own[1]!r}"
            )
    for metric, package in EXTRAS.items():
        if metric in wanted and importlib.util.find_spec(package) is None:
            name = package.replace("sklearn", "scikit-learn")
            yield f"evaluation.metrics = {metric!r} needs {name}: pip install -e '.[evaluation]'"


def refuse_data(values: Values, data: Dataset) -> None:
    """Raises UserError for data that do not go with the model."""
    name, support = values["model.likelihood"], LIKELIHOODS[values["model.likelihood"]].support
    head = f"model.likelihood = {name!r}"
    if support in ("binary", "unit") and not data.in_unit:
        raise UserError(
            f"{head} is for data in 0 to 1, and these go beyond; scale them, or take a likelihood "
            "of real numbers, such as 'gaussian_shared_scale'"
        )
    if support in ("levels", "counts") and data.train.images.dtype != np.uint8:
        raise UserError(
            f"{head} is for whole numbers, 0 to 255; these data are floats: give them as uint8"
        )
    if support in ("unit", "levels", "counts") and values["dataset.binarization"] != "none":
        raise UserError(
            f"{head} is for grey values; dataset.binarization = "
            f"{values['dataset.binarization']!r} should be 'none'"
        )
    pseudo = support == "binary" and not data.binary
    allowed = values["evaluation.allow_pseudo_likelihood"] or not pseudo
    asked = [metric for metric in OF_LIKELIHOOD if metric in values["evaluation.metrics"]]
    if asked and not allowed:
        raise UserError(
            f"evaluation.metrics = {asked[0]!r} of grey values under {head} is no likelihood; "
            "binarise them, or say evaluation.allow_pseudo_likelihood = True"
        )
    if "samples" in values["evaluation.metrics"] and values["evaluation.samples.features"]:
        features.load(values["evaluation.samples.features"], data.image_shape)  # refuses others
    if "disentanglement" in values["evaluation.metrics"] and data.test.factors is None:
        raise UserError(
            "evaluation.metrics = 'disentanglement' needs the factors that the images were made "
            f"of, and {data.identity['name']} has none (dataset.name = 'sprites' has)"
        )
    if "probes" in values["evaluation.metrics"] and (
        data.train.labels is None or data.test.labels is None or data.test.labels.min() < 0
    ):
        raise UserError(
            f"evaluation.metrics = 'probes' needs labels, and {data.identity['name']} has none"
        )
    if values["model.conditional"] or values["model.name"] == "m2":
        reader = "model.conditional = True" if values["model.conditional"] else "model.name = 'm2'"
        if data.train.labels is None or data.test.labels is None:
            raise UserError(f"{reader} needs labels, and the data have none")
        least = 0 if values["model.conditional"] else -1  # M2's -1: a label that is not known
        given = [
            labels for labels in (data.validation.labels, data.test.labels) if labels is not None
        ]
        if data.train.labels.min() < least or any(np.any(labels < 0) for labels in given):
            raise UserError(f"{reader} needs labels from 0 upwards, and the data have others")
        if data.test.labels.max() >= data.num_classes:
            raise UserError(
                f"{reader} needs labels that are in the training set; the test set has "
                f"{data.test.labels.max()}, the training set 0 to {data.num_classes - 1}"
            )
    if values["model.prior"] == "vampprior":
        if values["model.prior_components"] > len(data.train.images):
            raise UserError(
                f"model.prior_components = {values['model.prior_components']} pseudo-inputs start "
                f"as training images; it should be at most the {len(data.train.images)} there are"
            )
        if not data.in_unit:
            raise UserError("model.prior = 'vampprior' is for data in 0 to 1, and these go beyond")
