"""Images on the explorer's page."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vae_jax.pages.charts import GREY, bokeh

INK = 0.045  # the width of a drawn line, as a part of the image
DEVIATIONS = 2  # from the mean of q(z | x) to the edge of its ellipse


class Picture:
    """A chart that shows one image."""

    def __init__(self, title: str, side: int, shape: tuple[int, int, int]):
        height, width, self.channels = shape
        self.shape = shape
        self.source = bokeh().models.ColumnDataSource({"image": [], "dw": [], "dh": []})
        fig = bokeh().plotting.figure(
            title=title,
            # Of the frame itself, so that pixels are square.
            frame_width=side,
            frame_height=round(side * height / width),
            x_range=(0, width),
            y_range=(0, height),
            tools="",
            background_fill_alpha=0,
            border_fill_alpha=0,
        )
        fig.title.text_color, fig.title.text_font_size = GREY, "12px"
        fig.min_border = 2
        fig.axis.visible, fig.grid.visible, fig.toolbar_location = False, False, None
        draw: Callable[..., Any] = fig.image_rgba if self.channels >= 3 else fig.image
        more = {}
        if self.channels < 3:
            greys = bokeh().models.LinearColorMapper(palette=black_to_white(), low=0, high=1)
            more["color_mapper"] = greys
        draw(image="image", x=0, y=0, dw="dw", dh="dh", source=self.source, **more)
        self.figure = fig

    def show(self, images: Any) -> None:
        """Shows the first of the images."""
        height, width, channels = self.shape
        image = np.clip(np.asarray(images, np.float32).reshape(-1, *self.shape)[0], 0, 1)[::-1]
        if channels >= 3:
            rgba = np.full((height, width, 4), 255, np.uint8)
            rgba[..., :3] = (255 * image[..., :3] + 0.5).astype(np.uint8)
            shown = rgba.view(np.uint32).reshape(height, width)
        else:
            shown = np.ascontiguousarray(image[..., 0])
        self.source.data = {"image": [shown], "dw": [width], "dh": [height]}


def black_to_white() -> list[str]:
    """The 256 greys."""
    return [f"#{i:02x}{i:02x}{i:02x}" for i in range(256)]


def rasterise(
    xs: Sequence[Sequence[float]], ys: Sequence[Sequence[float]], shape: tuple[int, int, int]
) -> np.ndarray:
    """Strokes with ends in 0 to 1, as an image [height, width, channels]: white on black."""
    from PIL import Image, ImageDraw, ImageFilter

    height, width, channels = shape
    scale = 8
    sheet = Image.new("L", (width * scale, height * scale))
    pen = ImageDraw.Draw(sheet)
    thick = max(int(1.5 * scale), int(2 * INK * sheet.width))
    for x, y in zip(xs, ys, strict=False):
        points = [
            (float(a) * sheet.width, (1 - float(b)) * sheet.height)
            for a, b in zip(x, y, strict=False)
        ]
        if len(points) > 1:
            pen.line(points, fill=255, width=thick, joint="curve")
        for a, b in points:
            pen.ellipse((a - thick / 2, b - thick / 2, a + thick / 2, b + thick / 2), fill=255)
    small = sheet.filter(ImageFilter.GaussianBlur(scale / 2)).resize((width, height))
    image = np.asarray(small, np.float32)[..., None] / 255
    return np.repeat(image, channels, axis=-1)


def ellipse(covariance: np.ndarray) -> tuple[float, float, float]:
    """Width, height and angle (radians) of the ellipse of a Gaussian with this covariance [2, 2].

    Its edge is DEVIATIONS standard deviations from the mean.
    """
    variances, directions = np.linalg.eigh(covariance)  # the smallest variance first
    sides = 2 * DEVIATIONS * np.sqrt(np.maximum(variances[::-1], 0))
    return float(sides[0]), float(sides[1]), float(np.arctan2(*directions[::-1, 1]))
