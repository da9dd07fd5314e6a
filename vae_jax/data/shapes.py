"""What shapes images and vectors may have."""

from vae_jax.errors import UserError

COLOURS = (1, 3, 4)  # usual numbers of channels


def is_vector(image_shape: tuple[int, ...]) -> bool:
    """Whether an example of this shape is a vector: [d], or an image of one row of grey values."""
    return len(image_shape) == 1 or (image_shape[:1] == (1,) and image_shape[2:] in ((), (1,)))


def image_shape_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of examples of this shape [n, ...]; vectors [n, d]: (1, d, 1)."""
    if len(shape) == 2:
        return 1, shape[1], 1
    height, width, *channels = shape[1:]
    return height, width, channels[0] if channels else 1


def refuse_shape(shape: tuple[int, ...], where: str) -> None:
    """Raises UserError if it is not of images, one channel or several, or of vectors; `where` names
    them."""
    if len(shape) not in (2, 3, 4) or min(shape) < 1:
        raise UserError(
            f"{where} has shape {shape}; it should be (n, height, width) or "
            "(n, height, width, channels), or (n, d) of vectors, none of them zero"
        )
    if len(shape) == 4 and shape[-1] > max(COLOURS) and shape[1] in COLOURS:
        raise UserError(
            f"{where} has shape {shape}, which looks like (n, channels, height, width); it "
            "should be (n, height, width, channels): images.transpose(0, 2, 3, 1)"
        )
