"""The VAEs that benchmarks train."""

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # other libraries are timed in processes without this code
    from vae_jax.config.build import Config

WHOLE = 55_000  # images of an epoch, as configs/default.py has it


class Work(NamedTuple):
    """A VAE of MNIST and how it is trained; the decoder's widths are the encoder's turned round."""

    name: str
    widths: tuple[int, ...]  # hidden units, or a convolution's channels, from the image up
    latent_size: int
    batch_size: int
    network: str = "mlp"  # or conv: 4 x 4, stride 2, as configs/mnist_conv.py has it
    activation: str = "relu"  # or tanh
    objective: str = "elbo"  # or iwae
    num_samples: int = 1  # of z
    images: int = WHOLE  # the first of MNIST; fewer where an epoch of all would take too long

    @property
    def steps(self) -> int:
        """The steps of an epoch."""
        return self.images // self.batch_size

    @property
    def title(self) -> str:
        sizes = "-".join(map(str, (784, *self.widths, self.latent_size)))
        return (
            f"{self.name}: {self.network} {sizes}, {self.activation}, batch {self.batch_size}, "
            f"{self.objective}, k = {self.num_samples}, {self.images:,} images"
        )


IWAE = Work("784-200-200-50", (200, 200), 50, 20, activation="tanh", images=4_000)
WORKS = (
    Work("784-400-20", (400,), 20, 128),
    Work("784-512-2", (512,), 2, 50),
    IWAE,
    IWAE._replace(name="iwae-k50", objective="iwae", num_samples=50),
    Work("conv", (16, 32), 20, 128, network="conv", images=6_400),
)


def config_of(work: Work) -> "Config":
    """The config of this code that is the work."""
    from configs import default
    from vae_jax.config.check import check
    from vae_jax.config.schema import nest

    changes = {
        "model.latent_size": work.latent_size,
        "objective.name": work.objective,
        "objective.num_samples": work.num_samples,
        "training.batch_size": work.batch_size,
    }
    for side, widths in (("encoder", work.widths), ("decoder", work.widths[::-1])):
        changes[f"model.{side}.name"] = work.network
        changes[f"model.{side}.widths"] = widths
        changes[f"model.{side}.activation"] = work.activation
    return check(nest(check(default.get_config()).values | changes))


def work_from(fields: list[Any]) -> Work:
    """The work that JSON made a list of."""
    name, widths, *rest = fields
    return Work(name, tuple(widths), *rest)
