"""Sprites: 64 x 64 images of a white shape on black, rendered on demand from five factors.

After dSprites (Matthey et al. 2017), with other shapes; nothing is downloaded or stored.
"""

import numpy as np

from vae_jax.data.source import Source

FACTORS = {"shape": 3, "scale": 6, "rotation": 40, "x": 32, "y": 32}  # factor: number of values
SIZE = 64
TRAIN_SIZE, TEST_SIZE = 40_000, 5_000
BLOCK = 1_000  # images rendered at a time

# Half the extent of the smallest and of the largest shape, in pixels.
SMALLEST, LARGEST = 6.0, 12.0
MARGIN = 1.5 * LARGEST  # from centre to border; no rotated shape reaches further


def square(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether (a, b) is inside the square of half-width 0.8."""
    return (np.abs(a) <= 0.8) & (np.abs(b) <= 0.8)


def ellipse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether (a, b) is inside the ellipse of half-axes 1.2 and 0.6."""
    return np.square(a / 1.2) + np.square(b / 0.6) <= 1


def heart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether (a, b) is inside (a^2 + b^2 - 1)^3 = a^2 b^3, with b upwards and a similar size."""
    a, b = 1.1 * a, -1.1 * b
    return (np.square(a) + np.square(b) - 1) ** 3 <= np.square(a) * b**3


SHAPES = (square, ellipse, heart)


def render(factors: np.ndarray) -> np.ndarray:
    """Images [n, 64, 64, 1], uint8 0 or 255, from factors [n, 5] in the order of FACTORS."""
    images = np.zeros((len(factors), SIZE, SIZE, 1), np.uint8)
    pixels = np.arange(SIZE, dtype=np.float32)
    for start in range(0, len(factors), BLOCK):
        rows = factors[start : start + BLOCK]
        shape, scale, rotation, x, y = rows.T
        radius = SMALLEST + (LARGEST - SMALLEST) * scale / (FACTORS["scale"] - 1)
        angle = 2 * np.pi * rotation / FACTORS["rotation"]
        centres = np.linspace(MARGIN, SIZE - 1 - MARGIN, FACTORS["x"], dtype=np.float32)
        # The coordinates of every pixel in the shape's own axes.
        right = (pixels[None] - centres[x][:, None]) / radius[:, None].astype(np.float32)
        down = (pixels[None] - centres[y][:, None]) / radius[:, None].astype(np.float32)
        cos, sin = (f(angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
        a = cos * right[:, None, :] + sin * down[:, :, None]
        b = cos * down[:, :, None] - sin * right[:, None, :]
        for number, inside in enumerate(SHAPES):
            chosen = shape == number
            images[start : start + BLOCK][chosen, :, :, 0] = 255 * inside(a[chosen], b[chosen])
    return images


def sample_factors(seed: int, n: int) -> np.ndarray:
    """n samples of the factors [n, 5], each uniform and independent."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, count, n) for count in FACTORS.values()], axis=1)


def load() -> Source:
    """Always the same images; their label is the shape."""
    train, test = sample_factors(0, TRAIN_SIZE), sample_factors(1, TEST_SIZE)
    return Source(
        "sprites", render(train), train[:, 0], render(test), test[:, 0],
        train_factors=train, test_factors=test,
        class_names=tuple(shape.__name__ for shape in SHAPES),
    )  # fmt: skip
