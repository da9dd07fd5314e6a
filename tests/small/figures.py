"""Figures as they would be written, to look at what is in them."""

from pathlib import Path

from vae_jax.figures.style import shown

# Rows of metrics.jsonl of two lanes, within the first epoch and after it.
ROWS = [
    {"lane": lane, "seed": 4 + lane, "step": s, "epoch": s / 10, "split": split,
     "elbo": -100.0 + s + lane, "bound": -100.0 + s + lane, "reconstruction": -90.0, "kl": 10.0,
     "loss": None}
    for lane in (0, 1) for s in (5, 10, 20) for split in ("train", "validation")
]  # fmt: skip


def figure_of(draw):
    """The figure that `draw(name of its file)` would write; needs the fixture `with_pixels`."""
    with shown() as figures:
        draw("figure.png")
    (fig,) = figures.values()
    fig.draw_without_rendering()
    return fig


def drawn(function, *arguments, **more):
    """The figure that a function of vae_jax.figures would write."""
    return figure_of(lambda name: function(Path(name), *arguments, **({"title": "t"} | more)))
