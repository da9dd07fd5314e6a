"""What do few photographs give? Small colour photographs, cut from seven that packages bring.

    pip install scikit-image scikit-learn
    python -m experiments.photographs --out=crops
    vae-jax train --config=photos --config.dataset.path=crops/300 --workdir=runs/crops_300
    python -m experiments.photographs --draw=runs/crops_300,runs/crops_1000

Writes a folder of PNG files for each of 300, 1,000 and 10,000 training images, 32 x 32, each with
the same 500 test images. The photographs are scaled to a height of 400 pixels and divided into
tiles of 100 x 100; every fifth tile is for the test set. An image is a random square of a tile, at
least 64 pixels wide, reduced. What was found is in docs/photographs.md, with time and seeds.

The photographs: astronaut (NASA), rocket (SpaceX), chelsea (S. van der Walt), coffee (R. Michetti)
and motorcycle (D. Scharstein et al. 2014) of scikit-image, in the public domain or CC0; china (by
danielbuechele) and flower (by vultilion) of scikit-learn, CC BY 2.0.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from vae_jax import load
from vae_jax.api.trained import Trained
from vae_jax.figures import style
from vae_jax.figures.images import show

IMAGES = 14  # drawn in a row
TITLE = "Test images, reconstructions from the posterior means, and samples"
SIZES, TEST_SIZE, SIDE = (300, 1_000, 10_000), 500, 32
HEIGHT, TILE, NARROWEST = 400, 100, 64  # of photographs, tiles and squares, pixels
OF_SCIKIT_IMAGE = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
OF_SCIKIT_LEARN = ("china.jpg", "flower.jpg")


def photographs() -> list[Image.Image]:
    """The seven photographs, all of one height."""
    import skimage.data
    import sklearn.datasets

    folder = Path(skimage.data.__file__).parent
    images = [Image.open(folder / name).convert("RGB") for name in OF_SCIKIT_IMAGE]
    images += [Image.fromarray(sklearn.datasets.load_sample_image(n)) for n in OF_SCIKIT_LEARN]
    return [image.resize((round(HEIGHT * image.width / image.height), HEIGHT)) for image in images]


def tiles(image: Image.Image, *, test: bool) -> list[Image.Image]:
    """The tiles of a photograph that are for the test set, or the others."""
    corners = [(i, j) for i in range(HEIGHT // TILE) for j in range(image.width // TILE)]
    return [
        image.crop((TILE * j, TILE * i, TILE * (j + 1), TILE * (i + 1)))
        for i, j in corners
        if ((i + 2 * j) % 5 == 0) == test
    ]


def size_of(run: Trained) -> str:
    """The number of training images, which the name of the run folder ends with."""
    return f"{int(run.workdir.name.rpartition('_')[2]):,}"


def square(rng: np.random.Generator, tile: Image.Image) -> Image.Image:
    """A random square of a tile, reduced."""
    side = int(rng.integers(NARROWEST, TILE + 1))
    x, y = (int(corner) for corner in rng.integers(0, TILE - side + 1, 2))
    return tile.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BOX)


def write(
    folder: Path, images: Sequence[Image.Image], count: int, seed: int, *, test: bool
) -> None:
    """Writes `count` squares, as many of each photograph as of the others."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    tiles_of = [tiles(image, test=test) for image in images]
    for i in range(count):
        choices = tiles_of[i % len(images)]
        square(rng, choices[rng.integers(len(choices))]).save(folder / f"{i:05}.png")


@style.own_style
def draw(path: Path, runs: Sequence[Trained]) -> None:
    """Test images, and what each run makes of them; samples of each run."""
    originals = runs[0].images("test")[:IMAGES]
    rows = [("test images", originals / 255)]
    rows += [(size_of(run), run.reconstruct(originals)) for run in runs]
    rows += [(f"{size_of(run)}: samples", run.generate(IMAGES)) for run in runs]
    fig = style.figure(
        8,
        0.52 * len(rows) + 0.3,
        TITLE,
    )
    axes = fig.subplots()
    show(axes, np.stack([images for _, images in rows]))
    axes.set_xticks([])
    axes.set_yticks([(i + 0.5) * (SIDE + 1) for i in range(len(rows))], [name for name, _ in rows])
    axes.tick_params(length=0, labelsize=8)
    style.save(fig, path)


def main(argv: Sequence[str]) -> None:
    values = flags.FlagValues()
    flags.DEFINE_string("out", "crops", "the folder to write", flag_values=values)
    flags.DEFINE_list("draw", [], "run folders to draw, instead", flag_values=values)
    values(["photographs", *argv])
    if values.draw:
        draw(Path("photographs.png"), [load(folder) for folder in values.draw])
        return
    images = photographs()
    for size in SIZES:
        write(Path(values.out) / str(size) / "train", images, size, 0, test=False)
        write(Path(values.out) / str(size) / "test", images, TEST_SIZE, 1, test=True)


if __name__ == "__main__":
    main(sys.argv[1:])
