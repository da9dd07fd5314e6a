"""Vectors as pictures: a bar for each variable, or for the greatest of some side by side."""

import numpy as np
from jaxtyping import Float

from vae_jax.data.dataset import Dataset
from vae_jax.data.shapes import is_vector
from vae_jax.data.units import Units

HEIGHT = WIDTH = 48  # pixels; WIDTH: of bars, at most
BAR = 0.25  # the grey value of a bar, on white


def picture_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(height, width, channels) of what is shown of an example of this shape."""
    if not is_vector(image_shape):
        return image_shape
    size = image_shape[1]
    return HEIGHT, size * (WIDTH // size) if size <= WIDTH else WIDTH, 1


def profiles(x_nd: Float[np.ndarray, "n d"], units: Units | None) -> Float[np.ndarray, "n h w 1"]:
    """The pictures of vectors, 0 to 1, all to one scale: that of the data, from their least to
    their greatest value; of counts, log(1 + x)."""
    height, width, _ = picture_shape((1, x_nd.shape[1], 1))
    low, high = (0.0, 1.0) if units is None else (min(units.low, 0.0), units.high)
    if units is not None and units.kind == "counts":
        x_nd, high = np.log1p(np.maximum(x_nd, 0)), np.log1p(high)
    elif units is not None and units.kind in ("bits", "levels"):
        high = 1.0
    edges = np.linspace(0, x_nd.shape[1], min(width, x_nd.shape[1]) + 1).round().astype(int)
    highest, lowest = (f.reduceat(x_nd, edges[:-1], axis=1) for f in (np.maximum, np.minimum))
    values = np.where(highest >= -lowest, highest, lowest)  # of the greatest size
    bars = np.repeat(values, width // (len(edges) - 1), axis=1)
    # A row of pixels is dark as far as the bar reaches into it, up or down from 0.
    top = height * (bars - low) / ((high - low) or 1.0)
    ground = height * (0 - low) / ((high - low) or 1.0)
    rows = np.arange(height)[::-1, None]  # the lowest is 0
    least, most = np.minimum(top, ground)[:, None], np.maximum(top, ground)[:, None]
    covered = np.clip(np.minimum(most, rows + 1) - np.maximum(least, rows), 0, 1)
    return (1 - (1 - BAR) * covered)[..., None]


def in_rows(x: Float[np.ndarray, "*n d"], rows: int, data: Dataset) -> np.ndarray:
    """Examples of these data in rows, as pictures [rows, columns, height, width, channels]."""
    x_nd = x.reshape(-1, x.shape[-1])
    shown = profiles(x_nd, data.units) if data.is_vectors else x_nd
    return shown.reshape(rows, -1, *picture_shape(data.image_shape))
