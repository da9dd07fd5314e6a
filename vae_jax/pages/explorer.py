"""The explorer: the widgets of a live page of a trained model."""

from typing import Any

import numpy as np

from vae_jax.api.trained import Trained
from vae_jax.evaluation.samplers import PRIOR
from vae_jax.figures.latent_space import principal_plane
from vae_jax.pages.charts import (
    GREY,
    WIDGETS,
    Plot,
    Widget,
    bokeh,
    colour,
    figure,
    scatter_by_class,
    tiled,
)
from vae_jax.pages.layout import own_size, section, wrap
from vae_jax.pages.picture import INK, Picture, ellipse, rasterise
from vae_jax.views.points import by_kl
from vae_jax.views.profiles import picture_shape
from vae_jax.words import aligned

MOST_UNITS = 20  # with a slider
MOST_SHOWN, MOST_NUMBERS = 500, 200  # units whose q(z | x) is drawn; numbers of z that are written
MOST_POINTS = 2_000  # codes of test images on the plane
NEIGHBOURS = 6
SAMPLES, PER_ROW = 16, 8  # of the prior
HOTTEST = 1.5  # temperature
REACH = 4.0  # of a slider, in standard deviations of the prior
CANVAS = 280  # pixels of a drawing
ELLIPSE = ("x", "y", "width", "height", "angle")


MARKS = (("white", 7), ("black", 3))  # black with a white edge: seen on every ground
STAYS = {
    "position": "sticky", "top": "0", "align-self": "flex-start", "z-index": "2",
    "background": "var(--page)",
}  # fmt: skip


class Explorer:
    """The widgets of one lane; every change of one calls a function of the model."""

    def __init__(self, trained: Trained):
        models = bokeh().models
        self.trained = trained
        self.size = trained.latent_size
        has_images = trained.data is not None  # else they are not where they were
        self.test: Any = trained.run.data.test.images if has_images else None
        self.labels: Any = trained.run.data.test.labels if has_images else None
        self.codes = np.zeros((1, self.size), np.float32)
        kl_l = None
        if self.test is not None:
            self.codes, kl_l = trained.codes(*self.images(slice(MOST_POINTS)))
        self.order = by_kl(kl_l, self.size)
        self.z = np.zeros(self.size, np.float32)
        self.moving = False
        self.origin, self.directions = np.zeros(self.size), np.eye(self.size, 2)
        if self.size > 2 and len(self.codes) > 2:
            self.origin, self.directions, _ = principal_plane(self.codes)
        self.cross = models.ColumnDataSource({"x": [], "y": []})
        self.ellipse = models.ColumnDataSource({name: [] for name in ELLIPSE})
        wrapped_text = {"white-space": "pre-wrap", "overflow-wrap": "anywhere"}
        self.text = models.PreText(text="", sizing_mode="stretch_width", styles=wrapped_text)
        classes = list(trained.run.data.given_names) or ["0"]
        self.label = models.Select(title="class", value=classes[0], options=classes, width=110)
        self.label.visible = trained.reads_labels
        self.label.on_change("value", lambda attr, old, new: self.decode())
        self.decoded = self.picture("image of z", 240)
        self.plane = self.plane_of_codes()
        self.sliders = self.sliders_of_units()
        self.layout = self.page()
        for model in self.layout.references():
            if isinstance(model, models.Widget):
                model.stylesheets = [*model.stylesheets, WIDGETS]
        self.decode()
        if self.test is not None:
            self.pick(0)

    def page(self) -> Widget:
        """All that the page shows."""
        layouts, models = bokeh().layouts, bokeh().models
        copy = models.Button(label="copy z as Python", width=150)
        copy.js_on_click(
            models.CustomJS(
                args={"text": self.text}, code="navigator.clipboard.writeText(text.text)"
            )
        )
        reset = models.Button(label="z = 0", width=80)
        reset.on_click(lambda: self.move_to(np.zeros(self.size, np.float32)))
        # Beside the sliders, and in view also where there are more than the screen shows.
        stays = layouts.column(self.decoded.figure, self.label, styles=STAYS, css_classes=["stays"])
        movers = layouts.column(
            layouts.row(copy, reset), self.text, *self.sliders, min_width=260, max_width=460,
            sizing_mode="stretch_width",
        )  # fmt: skip
        plane = [] if self.plane is None else [self.plane]
        parts = [section("A point of the latent space", *plane, stays, movers)]
        if self.test is not None:
            parts += [section("A test image and q(z | x)", *self.chosen_image())]
        others = [self.line()] if self.test is not None else []
        drawing = [] if self.trained.run.data.is_vectors else [self.drawing()]
        parts += [wrap(*others, self.samples(), *drawing)]
        return layouts.column(*parts, sizing_mode="stretch_width")

    def picture(self, title: str, side: int = 220) -> Picture:
        """A chart for one image of the model."""
        return Picture(title, side, picture_shape(self.trained.image_shape))

    def decoded_of(self, z_l: np.ndarray) -> np.ndarray:
        """What is shown of a code."""
        return self.trained.pictures(self.trained.decode(z_l[None], self.chosen_class()))

    def chosen_class(self, n: int = 1) -> list[str] | None:
        """The class that the page shows, n times; None: the model reads none."""
        return [self.label.value] * n if self.trained.reads_labels else None

    def decode(self) -> None:
        """Shows the image of z."""
        self.decoded.show(self.decoded_of(self.z))
        x, y = self.on_plane(self.z)
        self.cross.data = {"x": [float(x)], "y": [float(y)]}
        shown = self.z[:MOST_NUMBERS]
        numbers = ", ".join(f"{value:.4g}" for value in shown)
        rest = f", ...]  # {self.size:,} units" if len(shown) < self.size else "]"
        self.text.text = f"z = [{numbers}{rest}"

    def on_plane(self, z: np.ndarray) -> np.ndarray:
        """The place [2] of z on the plane of codes."""
        return (np.asarray(z, float) - self.origin) @ self.directions

    def move_to(self, z: np.ndarray) -> None:
        """Shows the image of z, and moves the sliders there."""
        self.z = np.asarray(z, np.float32).copy()
        self.moving = True
        for slider, unit in zip(self.sliders, self.order, strict=False):
            slider.value = float(np.clip(self.z[unit], -REACH, REACH))
        self.moving = False
        self.decode()

    def sliders_of_units(self) -> list[Widget]:
        """One for each unit; if a unit is moved, the layers below it follow."""
        sliders, layers = [], self.trained.layers
        for unit in self.order[:MOST_UNITS]:
            layer = f", {layer_name(layers[unit])}" if layers.max() else ""
            slider = bokeh().models.Slider(
                start=-REACH,
                end=REACH,
                step=0.05,
                value=0.0,
                title=f"unit {unit}{layer}",
                min_width=200,
                sizing_mode="stretch_width",
            )

            def move(attr: str, old: float, new: float, unit: int = unit) -> None:
                if self.moving:
                    return
                self.z[unit] = new
                if layers[unit] < layers.max():
                    label = self.chosen_class()
                    self.move_to(self.trained.descend(self.z[None], int(layers[unit]), label)[0])
                else:
                    self.decode()

            slider.on_change("value", move)
            sliders.append(slider)
        return sliders

    def plane_of_codes(self) -> Plot | None:
        """The plane of two latent units (the pointer is z) or of two principal components, if any.

        A cross is z, an ellipse q(z | x) of the test image.
        """
        if self.size < 2 or (self.size > 2 and len(self.codes) < 3):
            return None
        axis = "latent unit" if self.size == 2 else "principal component"
        fig = figure("", f"{axis} 0", f"{axis} 1", match_aspect=True)
        fig.height, fig.min_width, fig.max_width = 440, 280, 520
        fig.toolbar_location = "above"
        names = None
        if self.labels is not None:
            classes = self.trained.run.data.class_names
            labels = self.labels[: len(self.codes)]
            names = [classes[i] if classes and i >= 0 else str(i) for i in labels]
        scatter_by_class(fig, self.on_plane(self.codes), names, 4)
        points = list(fig.renderers)
        for ink, width in MARKS:
            fig.ellipse(
                "x", "y", width="width", height="height", angle="angle", source=self.ellipse,
                fill_color=None, line_color=ink, line_width=width,
            )  # fmt: skip
            fig.scatter(
                "x", "y", source=self.cross, marker="cross", size=18 + width, line_color=ink,
                line_width=width,
            )  # fmt: skip
        # Where z is may not move the frame.
        fig.x_range.renderers = fig.y_range.renderers = points
        if self.size == 2:
            from bokeh.events import MouseMove, Tap

            def point(event: Any) -> None:
                if event.x is not None and event.y is not None:
                    self.move_to(np.array([event.x, event.y]))

            fig.on_event(MouseMove, point)
            fig.on_event(Tap, point)
        return fig

    def chosen_image(self) -> list[Widget]:
        """A test image: q(z | x), the reconstruction, the terms of its ELBO, its neighbours."""
        layouts, models = bokeh().layouts, bokeh().models
        self.index = models.Spinner(
            title="test image", low=0, high=len(self.test) - 1, step=1, value=0, width=110
        )
        self.index.on_change("value", lambda attr, old, new: self.pick(new))
        self.seen, self.rebuilt = self.picture("x", 160), self.picture("reconstruction", 160)
        self.terms = models.PreText(text="", width=240)
        self.near = [self.picture(f"neighbour {i + 1}", 84) for i in range(NEIGHBOURS)]
        self.posterior = models.ColumnDataSource({"unit": [], "mean": [], "low": [], "high": []})
        units = figure("q(z | x): mean and standard deviation", "latent unit", "")
        units.height, units.min_width, units.max_width = 260, 280, 520
        units.scatter("unit", "mean", source=self.posterior, size=7, color=colour(0))
        units.segment("unit", "low", "unit", "high", source=self.posterior, color=colour(0))
        units.xaxis.ticker = models.SingleIntervalTicker(interval=max(1, self.size // 10))
        take = models.Button(label="z = its mean", width=120)
        take.on_click(lambda: self.move_to(self.mean))
        near = [picture.figure for picture in self.near]
        half = len(near) // 2
        return [
            layouts.column(self.index, take, self.terms),
            layouts.row(self.seen.figure, self.rebuilt.figure),
            units,
            layouts.column(layouts.row(*near[:half]), layouts.row(*near[half:])),
        ]

    def image(self, index: Any) -> tuple[np.ndarray, Any]:
        """A test image [1, d] and its label, of an index that the page sends."""
        i = int(np.clip(int(index or 0), 0, len(self.test) - 1))
        return self.images(slice(i, i + 1))

    def images(self, rows: slice) -> tuple[np.ndarray, Any]:
        """Test images [n, d], and the names of the classes, if the model reads them."""
        if not self.trained.reads_labels:
            return self.test[rows], None
        data: Any = self.trained.run.data
        names = data.given_names
        return self.test[rows], [names[given] for given in data.test.given[rows]]

    def pick(self, index: Any) -> None:
        """Shows a test image."""
        image, label = self.image(index)
        values = self.trained.posterior(image, label)
        self.mean = values["mean"]
        self.seen.show(self.trained.pictures(image))
        self.rebuilt.show(self.trained.pictures(self.trained.reconstruct(image, label)))
        sd = values["sd"]
        units = np.sort(self.order[:MOST_SHOWN])
        self.posterior.data = {
            "unit": units,
            "mean": self.mean[units],
            "low": (self.mean - sd)[units],
            "high": (self.mean + sd)[units],
        }
        names = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
        known = [(names[key], f"{values[key]:.2f}") for key in names if key in values]
        self.show_ellipse(sd)
        self.terms.text = "\n".join(["nats, one sample of z", *aligned(known, left={0})])
        distances = np.square(self.codes - self.mean[None]).sum(axis=1)
        closest = [i for i in np.argsort(distances) if i != int(index or 0)][:NEIGHBOURS]
        for picture, i in zip(self.near, closest, strict=False):
            picture.show(self.trained.pictures(self.test[i : i + 1]))

    def show_ellipse(self, sd: np.ndarray) -> None:
        """Shows q(z | x) on the plane, of the image whose posterior mean is shown."""
        x, y = self.on_plane(self.mean)
        covariance = (self.directions.T * np.square(sd)) @ self.directions
        columns: list[list[float]] = [[] for _ in ELLIPSE]
        if self.size > 1 and np.isfinite(covariance).all():
            columns = [[value] for value in (float(x), float(y), *ellipse(covariance))]
        self.ellipse.data = dict(zip(ELLIPSE, columns, strict=True))

    def line(self) -> Widget:
        """The straight line between the codes of two test images."""
        layouts, models = bokeh().layouts, bokeh().models
        ends = [
            models.Spinner(title=title, low=0, high=len(self.test) - 1, step=1, value=i, width=110)
            for i, title in enumerate(("from", "to"))
        ]
        along = models.Slider(start=0, end=1, step=0.02, value=0.5, title="along", width=220)
        self.between = self.picture("between", 200)

        def walk(attr: str, old: Any, new: Any) -> None:
            codes = [self.trained.encode(*self.image(end.value))[0] for end in ends]
            z = (1 - along.value) * codes[0] + along.value * codes[1]
            self.between.show(self.decoded_of(z))

        for widget in (*ends, along):
            widget.on_change("value", walk)
        self.ends, self.along = ends, along
        walk("value", None, None)
        ends_and_place = layouts.column(*ends, along)
        return section("Between two test images", ends_and_place, own_size(self.between))

    def samples(self) -> Widget:
        """Samples of the prior, with a temperature for each layer."""
        layouts, models = bokeh().layouts, bokeh().models
        blank = np.zeros((SAMPLES, *picture_shape(self.trained.image_shape)))
        self.sampled = Picture("decoded samples of p(z)", 330, tiled(blank, PER_ROW).shape)
        groups = self.trained.groups
        names = list(dict.fromkeys(groups))
        by_map = len(names) < len(groups)
        self.temperatures = [
            models.Slider(
                start=0, end=HOTTEST, step=0.05, value=1, width=220,
                title="temperature"
                + (f", {f'map {name}' if by_map else layer_name(i)}" if len(names) > 1 else ""),
            )
            for i, name in enumerate(names)
        ]  # fmt: skip
        others = models.Button(label="other samples", width=120)
        self.seed, self.sampling = 0, self.trained
        kept = [PRIOR, *self.trained.samplers]
        self.source = models.Select(title="z of", value=PRIOR, options=kept, width=110)
        self.source.visible = len(kept) > 1

        def draw(attr: str, old: Any, new: Any) -> None:
            heat = [self.temperatures[names.index(group)].value for group in groups]
            made = self.sampling.generate(SAMPLES, self.seed, self.chosen_class(SAMPLES), heat)
            self.sampled.show(tiled(self.trained.pictures(made), PER_ROW))

        def again() -> None:
            self.seed += 1
            draw("seed", None, self.seed)

        def by(attr: str, old: Any, new: str) -> None:
            own = new in kept[1:]  # what a page sends may be anything
            self.sampling = self.trained.with_sampler(new) if own else self.trained
            draw("source", old, new)

        self.source.on_change("value", by)
        for widget in (*self.temperatures, self.label):
            widget.on_change("value", draw)
        others.on_click(again)
        draw("seed", None, self.seed)
        controls = layouts.column(self.source, *self.temperatures, others)
        return section("Samples of p(z)", own_size(self.sampled), controls)

    def drawing(self) -> Widget:
        """A canvas: what is drawn with the mouse is encoded."""
        layouts, models = bokeh().layouts, bokeh().models
        self.strokes = models.ColumnDataSource({"xs": [], "ys": []})
        canvas = bokeh().plotting.figure(
            title="draw here", frame_width=CANVAS, frame_height=CANVAS, x_range=(0, 1),
            y_range=(0, 1), tools="", border_fill_alpha=0, css_classes=["canvas"],
        )  # fmt: skip
        canvas.title.text_color = GREY
        canvas.axis.visible, canvas.grid.visible = False, False
        lines = canvas.multi_line("xs", "ys", source=self.strokes, line_width=INK * CANVAS,
                                  line_cap="round", line_join="round", color="black")  # fmt: skip
        tool = models.FreehandDrawTool(renderers=[lines], num_objects=40)
        canvas.add_tools(tool)
        canvas.toolbar.active_drag = tool
        self.drawn, self.redrawn = (self.picture(t, 130) for t in ("as seen", "reconstruction"))
        clear = models.Button(label="clear", width=80)
        clear.on_click(lambda: setattr(self.strokes, "data", {"xs": [], "ys": []}))
        self.strokes.on_change("data", lambda attr, old, new: self.see(new))
        seen = layouts.row(self.drawn.figure, self.redrawn.figure)
        return section("Your own drawing", layouts.column(canvas, clear), seen)

    def see(self, strokes: dict[str, Any]) -> None:
        """Encodes a drawing; its z is the one that is shown."""
        image = rasterise(strokes["xs"], strokes["ys"], self.trained.image_shape)
        if self.trained.run.data.binary:
            image = (image > 0.5).astype(np.float32)
        self.drawn.show(image[None])
        label = self.chosen_class()
        self.redrawn.show(self.trained.reconstruct(image[None], label))
        self.move_to(self.trained.encode(image[None], label)[0])


def layer_name(layer: int) -> str:
    """A layer of latents in words."""
    return "top layer" if layer == 0 else f"layer {layer} below"
