"""What an evaluation can measure beside the bound. To add a metric, write it and list it below."""

from typing import ClassVar

from vae_jax.evaluation.metrics import codes, likelihood, samples
from vae_jax.evaluation.metrics.codebook import CodebookMetric
from vae_jax.evaluation.metrics.interface import MetricSection
from vae_jax.evaluation.metrics.metric import Column, Metric, Subject
from vae_jax.sections.checks import flag, whole
from vae_jax.sections.declare import families, host, section


@section
class BoundMetric(MetricSection):
    """The objective's bound and its terms: always there."""

    columns: ClassVar[tuple[Column, ...]] = ()

    def metric(self, subject: Subject) -> Metric:
        raise NotImplementedError("the bound is measured by itself")


# In the order of the tables.
METRICS: dict[str, type[MetricSection]] = {
    "elbo": BoundMetric,
    "nll": likelihood.Nll,
    "nll_active": likelihood.NllActive,
    "ais": likelihood.Ais,
    "gaps": likelihood.GapsMetric,
    "surgery": codes.SurgeryMetric,
    "codes": codes.Codes,
    "codebook": CodebookMetric,
    "latents": codes.LatentsMetric,
    "probes": codes.Probes,
    "disentanglement": codes.Disentanglement,
    "samples": samples.Samples,
}


@section
class Evaluation:
    """The config's section `evaluation`."""

    every_epochs: int = host(1, whole(1), "epochs between two validations, each with a checkpoint")
    batch_size: int = host(1_000, whole(1), "examples at a time; does not change the result")
    num_samples: int = host(
        0, whole(0), "samples of q(z | x) for each example's bound; 0: objective.num_samples"
    )
    metrics: tuple[MetricSection, ...] = families(
        METRICS, ("elbo",), "what is measured of the test set", interface=MetricSection
    )
    allow_pseudo_likelihood: bool = host(
        False, flag, "whether log p(x) may be measured of grey values in a Bernoulli"
    )
