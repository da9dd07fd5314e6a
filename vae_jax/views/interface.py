"""What a figure of a run is."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from vae_jax.sections.interface import Part
from vae_jax.views.lane import LaneViews

LANE, MEASURED, RECORDS = "lane", "measured", "records"


class Drawing(NamedTuple):
    """A figure as a value: draw(path, *arguments, **named) writes it. Arrays alone, no model."""

    draw: Callable[..., None]
    arguments: tuple[Any, ...]
    named: dict[str, Any]


def drawing(draw: Callable[..., None], *arguments: Any, **named: Any) -> Drawing:
    """The figure that draw(path, *arguments, **named) writes."""
    return Drawing(draw, arguments, named)


class NothingToDraw(Exception):
    """Why there is nothing that the figure could show, in a few words."""


class View(NamedTuple):
    """What a figure can show of a run: the views of one lane, and the records of all."""

    lane: LaneViews
    title: Callable[[str], str]  # of a figure that shows this, of the lane
    about: str  # the config in a few words
    seeds: tuple[int, ...]  # of all lanes
    place: int  # of the lane among them
    prefix: str  # "pseudo-" where the likelihood is none
    rows: Callable[[], list[dict[str, Any]]]  # of metrics.jsonl
    results: Callable[[], list[dict[str, Any]]]  # of each lane
    num_importance_samples: int
    measured: Callable[[str], dict[str, np.ndarray]]  # what a metric kept, of all lanes
    measured_of_lane: Callable[[str], dict[str, np.ndarray]]


class FigureSection(Part, Protocol):
    """A figure of a run. `needs` and `needs_of_data` say what does not fit: a figure that is named
    is refused with that, and left out where none is named."""

    @property
    def shows(self) -> str:
        """What it shows: "lane", what the model of one lane gives; "measured", what an evaluation
        measured; "records", the records of a run. Those of a lane are drawn of a sweep's best."""
        return LANE

    @abstractmethod
    def drawing(self, view: View, /) -> Drawing:
        """The vae_jax.views.interface.Drawing of a View: drawing(function, ...), where
        function(path, ...) draws arrays and saves the figure. Raises NothingToDraw."""
