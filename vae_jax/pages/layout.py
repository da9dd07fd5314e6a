"""How the parts of the explorer's page are laid out."""

from typing import Any

from vae_jax.pages.charts import bokeh
from vae_jax.pages.picture import Picture

Widget = Any
WRAPPED = {"flex-wrap": "wrap", "gap": "4px 24px", "align-items": "flex-start"}


def wrap(*parts: Widget) -> Widget:
    """Parts side by side, as far as the screen is wide."""
    # The function layouts.row() would stretch what has a size of its own.
    return bokeh().models.Row(children=list(parts), sizing_mode="stretch_width", styles=WRAPPED)


def own_size(picture: Picture) -> Widget:
    """A picture that a row does not stretch."""
    return bokeh().layouts.column(picture.figure)


def section(title: str, *parts: Widget) -> Widget:
    """Parts side by side below a title, which is ours: it is HTML."""
    heading = bokeh().models.Div(text=f"<h2>{title}</h2>", styles={"font-size": "0.8rem"})
    children = [heading, wrap(*parts)]
    return bokeh().models.Column(children=children, sizing_mode="stretch_width", min_width=300)
