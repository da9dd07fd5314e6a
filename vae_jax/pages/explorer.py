"""The explorer: the widgets of a live page of a trained model."""

from collections.abc import Callable
from typing import Any

import numpy as np

from vae_jax.api.trained import Trained
from vae_jax.figures.latent_space import principal_components
from vae_jax.pages.charts import GREY, bokeh, colour, figure, tiled

MOST_UNITS = 20  # with a slider
MOST_POINTS = 2_000  # codes of test images on the plane
NEIGHBOURS = 6
SAMPLES, PER_ROW = 16, 8  # of the prior
HOTTEST = 1.5  # temperature
REACH = 4.0  # of a slider, in standard deviations of the prior
INK, CANVAS = 0.045, 280  # of a drawing: the width of a line, as a part of the image; pixels


class Explorer:
    """The widgets of one lane; every change of one calls a function of the model."""

    def __init__(self, trained: Trained):
        models = bokeh().models
        self.trained = trained
        self.size = trained.latent_size
        there = trained.data is not None  # else they are not where they were
        self.test: Any = trained.run.data.test.images if there else None
        self.labels: Any = trained.run.data.test.labels if there else None
        self.order = np.arange(self.size)
        self.codes = np.zeros((1, self.size), np.float32)
        if self.test is not None:
            self.codes, kl_l = trained.codes(*self.images(slice(MOST_POINTS)))
            if kl_l is not None:
                self.order = np.argsort(-kl_l)
        self.z = np.zeros(self.size, np.float32)
        self.moving = False
        self.text = models.PreText(text="", width=560)
        classes = list(trained.class_names) or ["0"]
        self.label = models.Select(title="class", value=classes[0], options=classes, width=110)
        self.label.visible = trained.reads_labels
        self.label.on_change("value", lambda attr, old, new: self.decode())
        self.decoded = self.picture("decoded z")
        self.plane = self.plane_of_codes()
        self.sliders = self.sliders_of_units()
        self.layout = self.page()
        self.decode()
        if self.test is not None:
            self.pick(0)

    def page(self):
        layouts, models = bokeh().layouts, bokeh().models
        copy = models.Button(label="copy z as Python", width=150)
        copy.js_on_click(
            models.CustomJS(
                args={"text": self.text}, code="navigator.clipboard.writeText(text.text)"
            )
        )
        reset = models.Button(label="z = 0", width=80)
        reset.on_click(lambda: self.move_to(np.zeros(self.size, np.float32)))
        left = layouts.column(*([self.plane] if self.plane else []), *self.sliders, width=430)
        right = layouts.column(
            self.label, self.decoded.figure, layouts.row(copy, reset), self.text, width=420
        )
        parts = [layouts.row(left, right)]
        if self.test is not None:
            parts += [self.chosen_image(), self.line()]
        parts += [self.samples(), self.drawing()]
        return layouts.column(*parts, sizing_mode="stretch_width")

    def picture(self, title: str, side: int = 220) -> "Picture":
        return Picture(title, side, self.trained.image_shape)

    def own_label(self, n: int = 1):
        return [self.label.value] * n if self.trained.reads_labels else None

    def decode(self) -> None:
        """Shows the image of z."""
        self.decoded.show(self.trained.decode(self.z[None], self.own_label()))
        numbers = ", ".join(f"{value:.4g}" for value in self.z)
        self.text.text = f"z = [{numbers}]"

    def move_to(self, z: np.ndarray) -> None:
        """Shows the image of z, and moves the sliders there."""
        self.z = np.asarray(z, np.float32).copy()
        self.moving = True
        for slider, unit in zip(self.sliders, self.order, strict=False):
            slider.value = float(np.clip(self.z[unit], -REACH, REACH))
        self.moving = False
        self.decode()

    def sliders_of_units(self) -> list[Any]:
        """One for each unit; if a unit is moved, the layers below it follow."""
        sliders, layers = [], self.trained.layers
        for unit in self.order[:MOST_UNITS]:
            name = f"unit {unit}" if layers.max() == 0 else f"unit {unit}, {named(layers[unit])}"
            slider = bokeh().models.Slider(
                start=-REACH, end=REACH, step=0.05, value=0.0, title=name, width=400
            )

            def moved(attr, old, new, unit=unit) -> None:
                if self.moving:
                    return
                self.z[unit] = new
                if layers[unit] < layers.max():
                    label = self.own_label()
                    self.move_to(self.trained.descend(self.z[None], int(layers[unit]), label)[0])
                else:
                    self.decode()

            slider.on_change("value", moved)
            sliders.append(slider)
        return sliders

    def plane_of_codes(self):
        """The plane of two latent units (or principal components): the pointer is z."""
        if self.size < 2:
            return None
        plane = self.codes if self.size == 2 else principal_components(self.codes)[0]
        if self.size > 2 and len(self.codes) < 3:
            return None
        axis = "latent unit" if self.size == 2 else "principal component"
        fig = figure("", f"{axis} 0", f"{axis} 1")
        fig.height, fig.sizing_mode, fig.width = 420, "fixed", 420
        own = self.labels[: len(plane)] if self.labels is not None else np.zeros(len(plane), int)
        fig.scatter(plane[:, 0], plane[:, 1], size=4, alpha=0.6,
                    color=[colour(int(label)) for label in own])  # fmt: skip
        if self.size == 2:
            from bokeh.events import MouseMove, Tap

            def pointed(event) -> None:
                if event.x is not None and event.y is not None:
                    self.move_to(np.array([event.x, event.y]))

            fig.on_event(MouseMove, pointed)
            fig.on_event(Tap, pointed)
        return fig

    def chosen_image(self):
        """A test image: q(z | x), the reconstruction, the terms of its ELBO, its neighbours."""
        layouts, models = bokeh().layouts, bokeh().models
        self.index = models.Spinner(
            title="test image", low=0, high=len(self.test) - 1, step=1, value=0, width=110
        )
        self.index.on_change("value", lambda attr, old, new: self.pick(new))
        self.seen, self.rebuilt = self.picture("x"), self.picture("reconstruction")
        self.terms = models.PreText(text="", width=260)
        self.near = [self.picture(f"neighbour {i + 1}", 110) for i in range(NEIGHBOURS)]
        self.posterior = models.ColumnDataSource({"unit": [], "mean": [], "low": [], "high": []})
        units = figure("q(z | x): mean and standard deviation", "latent unit", "")
        units.height, units.width, units.sizing_mode = 240, 420, "fixed"
        units.scatter("unit", "mean", source=self.posterior, size=7, color=colour(0))
        units.segment("unit", "low", "unit", "high", source=self.posterior, color=colour(0))
        units.xaxis.ticker = models.SingleIntervalTicker(interval=max(1, self.size // 10))
        take = models.Button(label="z = its mean", width=120)
        take.on_click(lambda: self.move_to(self.mean))
        return layouts.column(
            layouts.row(self.index, take),
            layouts.row(self.seen.figure, self.rebuilt.figure, self.terms, units),
            layouts.row(*(picture.figure for picture in self.near)),
        )

    def image(self, index: Any) -> tuple[np.ndarray, Any]:
        """A test image [1, d] and its label, of an index that the page sends."""
        i = int(np.clip(int(index or 0), 0, len(self.test) - 1))
        return self.images(slice(i, i + 1))

    def images(self, rows: slice) -> tuple[np.ndarray, Any]:
        """Test images [n, d], and the names of the classes, if the model reads them."""
        if not self.trained.reads_labels:
            return self.test[rows], None
        return self.test[rows], [self.trained.class_names[label] for label in self.labels[rows]]

    def pick(self, index: Any) -> None:
        """Shows a test image."""
        image, label = self.image(index)
        found = self.trained.posterior(image, label)
        self.mean = found["mean"]
        self.seen.show(self.trained.pictures(image))
        self.rebuilt.show(self.trained.reconstruct(image, label))
        units, sd = np.arange(self.size), found["sd"]
        self.posterior.data = {
            "unit": units,
            "mean": self.mean,
            "low": self.mean - sd,
            "high": self.mean + sd,
        }
        names = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
        lines = [f"{name:15} {found[key]:9.2f}" for key, name in names.items()]
        self.terms.text = "\n".join(["nats, one sample of z", *lines])
        distances = np.square(self.codes - self.mean[None]).sum(axis=1)
        closest = [i for i in np.argsort(distances) if i != int(index or 0)][:NEIGHBOURS]
        for picture, i in zip(self.near, closest, strict=False):
            picture.show(self.trained.pictures(self.test[i : i + 1]))

    def line(self):
        """The straight line between the codes of two test images."""
        layouts, models = bokeh().layouts, bokeh().models
        ends = [
            models.Spinner(title=title, low=0, high=len(self.test) - 1, step=1, value=i, width=110)
            for i, title in enumerate(("from", "to"))
        ]
        along = models.Slider(start=0, end=1, step=0.02, value=0.5, title="along", width=300)
        self.between = self.picture("between")

        def walk(attr, old, new) -> None:
            codes = [self.trained.encode(*self.image(end.value))[0] for end in ends]
            z = (1 - along.value) * codes[0] + along.value * codes[1]
            self.between.show(self.trained.decode(z[None], self.own_label()))

        for widget in (*ends, along):
            widget.on_change("value", walk)
        self.ends, self.along = ends, along
        walk("value", None, None)
        return layouts.row(layouts.column(*ends, along), self.between.figure)

    def samples(self):
        """Samples of the prior, with a temperature for each layer."""
        layouts, models = bokeh().layouts, bokeh().models
        blank = np.zeros((SAMPLES, *self.trained.image_shape))
        self.sampled = Picture("samples of p(z)", 440, tiled(blank, PER_ROW).shape)
        layers = range(self.trained.layers.max() + 1)
        self.temperatures = [
            models.Slider(
                start=0, end=HOTTEST, step=0.05, value=1, width=300,
                title="temperature" + (f", {named(layer)}" if len(layers) > 1 else ""),
            )
            for layer in layers
        ]  # fmt: skip
        others = models.Button(label="other samples", width=120)
        self.seed = 0

        def draw(attr, old, new) -> None:
            heat = [slider.value for slider in self.temperatures]
            made = self.trained.generate(SAMPLES, self.seed, self.own_label(SAMPLES), heat)
            self.sampled.show(tiled(self.trained.pictures(made), PER_ROW))

        def again() -> None:
            self.seed += 1
            draw("seed", None, self.seed)

        for slider in self.temperatures:
            slider.on_change("value", draw)
        self.label.on_change("value", draw)
        others.on_click(again)
        draw("seed", None, self.seed)
        return layouts.row(layouts.column(*self.temperatures, others), self.sampled.figure)

    def drawing(self):
        """A canvas: what is drawn with the mouse is encoded."""
        layouts, models = bokeh().layouts, bokeh().models
        self.strokes = models.ColumnDataSource({"xs": [], "ys": []})
        canvas = bokeh().plotting.figure(
            title="draw here", width=CANVAS, height=CANVAS, x_range=(0, 1), y_range=(0, 1), tools=""
        )
        canvas.title.text_color = GREY
        canvas.axis.visible, canvas.grid.visible = False, False
        lines = canvas.multi_line("xs", "ys", source=self.strokes, line_width=INK * CANVAS,
                                  line_cap="round", line_join="round", color="black")  # fmt: skip
        tool = models.FreehandDrawTool(renderers=[lines], num_objects=40)
        canvas.add_tools(tool)
        canvas.toolbar.active_drag = tool
        self.drawn, self.redrawn = self.picture("as seen"), self.picture("reconstruction")
        clear = models.Button(label="clear", width=80)
        clear.on_click(lambda: setattr(self.strokes, "data", {"xs": [], "ys": []}))
        self.strokes.on_change("data", lambda attr, old, new: self.see(new))
        return layouts.row(layouts.column(canvas, clear), self.drawn.figure, self.redrawn.figure)

    def see(self, strokes: dict[str, Any]) -> None:
        """Encodes a drawing; its z is the one that is shown."""
        image = rasterised(strokes["xs"], strokes["ys"], self.trained.image_shape)
        if self.trained.run.data.binary:
            image = (image > 0.5).astype(np.float32)
        self.drawn.show(image[None])
        label = self.own_label()
        self.redrawn.show(self.trained.reconstruct(image[None], label))
        self.move_to(self.trained.encode(image[None], label)[0])


class Picture:
    """A chart that shows one image."""

    def __init__(self, title: str, side: int, shape: tuple[int, int, int]):
        height, width, self.channels = shape
        self.shape = shape
        self.source = bokeh().models.ColumnDataSource({"image": [], "dw": [], "dh": []})
        fig = bokeh().plotting.figure(
            title=title,
            width=side,
            height=max(60, side * height // width) + 26,
            x_range=(0, width),
            y_range=(0, height),
            tools="",
            background_fill_alpha=0,
            border_fill_alpha=0,
        )
        fig.title.text_color = GREY
        fig.axis.visible, fig.grid.visible, fig.toolbar_location = False, False, None
        draw: Callable = fig.image_rgba if self.channels >= 3 else fig.image
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


def named(layer: int) -> str:
    return "top layer" if layer == 0 else f"layer {layer} below"


def black_to_white() -> list[str]:
    return [f"#{i:02x}{i:02x}{i:02x}" for i in range(256)]


def rasterised(xs: list, ys: list, shape: tuple[int, int, int]) -> np.ndarray:
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
