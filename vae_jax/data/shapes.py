"""What shapes images may have."""

from vae_jax.errors import UserError

COLOURS = (1, 3, 4)  # usual numbers of channels


def refuse_shape(shape: tuple[int, ...], where: str) -> None:
    """Raises UserError if it is not of images, one channel or several; `where` names them."""
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise UserError(
            f"{where} has shape {shape}; it should be (n, height, width) or "
            "(n, height, width, channels), none of them zero"
        )
    if len(shape) == 4 and shape[-1] > max(COLOURS) and shape[1] in COLOURS:
        raise UserError(
            f"{where} has shape {shape}, which looks like (n, channels, height, width); it "
            "should be (n, height, width, channels): images.transpose(0, 2, 3, 1)"
        )
