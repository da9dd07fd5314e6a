"""What a metric is."""

from abc import abstractmethod
from typing import Protocol

from vae_jax.evaluation.metrics.metric import Column, Metric, Subject
from vae_jax.sections.interface import Part


class MetricSection(Part, Protocol):
    """What an evaluation can measure."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The numbers that tables show: vae_jax.evaluation.metrics.metric.Column."""

    @abstractmethod
    def metric(self, subject: Subject, /) -> Metric:
        """A vae_jax.evaluation.metrics.metric.Metric: how each example is measured, and the
        measurements are summarised."""
