"""Other ways to train the VAE of a Work, each written plainly, like the library's own examples.

A peer is a System: (work, grey images [n, 784] uint8) -> an endless iterator of mean losses, first
of one step alone, then of each epoch. All do the same: the images are on the device, each minibatch
is binarised anew, z has `num_samples` samples, Adam has learning rate 1e-3, the order is shuffled
every epoch, and images that do not fill a batch are left out. Each library initialises the weights
in its own way, so losses agree only to a nat or two. A peer's docstring says what it does
differently.
"""

import contextlib
import io
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.work import Work


def torch_networks(work: Work) -> tuple[Any, int, Any]:
    """x [n, 784] -> features; how many those are; z [n, l] -> logits [n, 784]."""
    from torch import nn

    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[work.activation]
    down, up = [], []
    if work.network == "mlp":
        for i, o in pairwise((784, *work.widths)):
            down += [nn.Linear(i, o), activation()]
        for i, o in pairwise((work.latent_size, *work.widths[::-1])):
            up += [nn.Linear(i, o), activation()]
        up += [nn.Linear(work.widths[0], 784)]
        return nn.Sequential(*down), work.widths[-1], nn.Sequential(*up)
    side, last = 28 // 2 ** len(work.widths), work.widths[-1]
    for i, o in pairwise((1, *work.widths)):
        down += [nn.Conv2d(i, o, 4, stride=2, padding=1), activation()]
    for i, o in pairwise((last, *work.widths[::-1])):
        up += [nn.ConvTranspose2d(i, o, 4, stride=2, padding=1), activation()]
    features = last * side * side
    first = [nn.Linear(work.latent_size, features), activation()]
    output = [nn.Conv2d(work.widths[0], 1, 3, padding=1), nn.Flatten()]
    return (
        nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *down, nn.Flatten()),
        features,
        nn.Sequential(*first, nn.Unflatten(1, (last, side, side)), *up, *output),
    )


def pytorch(work: Work, images: np.ndarray, compiled: bool = False) -> Iterator[float]:
    """PyTorch, eager. On a GPU its products are let use TF32, as JAX's do."""
    import torch
    from torch import nn
    from torch.nn import functional

    class VAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, features, self.decoder = torch_networks(work)
            self.mean = nn.Linear(features, work.latent_size)
            self.log_scale = nn.Linear(features, work.latent_size)

        def forward(self, grey: torch.Tensor) -> torch.Tensor:
            x = torch.bernoulli(grey)
            h = self.encoder(x)
            mean, log_scale = self.mean(h), self.log_scale(h)
            noise = torch.randn(work.num_samples, *mean.shape, device=mean.device)
            z = mean + torch.exp(log_scale) * noise
            logits = self.decoder(z.flatten(0, 1)).view(work.num_samples, *x.shape)
            nll = functional.binary_cross_entropy_with_logits(
                logits, x.expand_as(logits), reduction="none"
            ).sum(-1)
            if work.objective == "elbo":
                kl = torch.sum(0.5 * (torch.exp(2 * log_scale) + mean**2 - 1) - log_scale, -1)
                return (nll + kl).mean()
            log_ratio = torch.sum(0.5 * (noise**2 - z**2) + log_scale, -1)  # of p(z) to q(z | x)
            bound = torch.logsumexp(log_ratio - nll, 0) - math.log(work.num_samples)
            return -bound.mean()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high" if device == "cuda" else "highest")
    torch.manual_seed(0)
    model = VAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    grey = torch.from_numpy(images).to(device).float() / 255
    loss_of: Callable[..., Any] = model
    update: Callable[..., Any] = optimizer.step
    if compiled:
        mode = "reduce-overhead" if device == "cuda" else "default"
        loss_of, update = torch.compile(model, mode=mode), torch.compile(optimizer.step)

    def train(batches: Sequence[torch.Tensor]) -> float:
        total = torch.zeros((), device=device)
        for rows in batches:
            if compiled:
                torch.compiler.cudagraph_mark_step_begin()
            loss = loss_of(grey[rows])
            optimizer.zero_grad()
            loss.backward()
            update()
            total += loss.detach()
        return float(total / len(batches))

    yield train([torch.arange(work.batch_size, device=device)])
    while True:
        order = torch.randperm(len(grey), device=device)
        yield train(order[: work.steps * work.batch_size].split(work.batch_size))


def pytorch_compiled(work: Work, images: np.ndarray) -> Iterator[float]:
    """PyTorch, its loss and Adam's step by torch.compile; on a GPU the loss as a CUDA graph."""
    return pytorch(work, images, compiled=True)


def pythae(work: Work, images: np.ndarray) -> Iterator[float]:
    """pythae's VAE and the loop of its BaseTrainer, with networks of our widths.

    Its own examples train on fixed images; here its model's `forward` binarises them first. Its
    decoder gives chances, not logits; its loader collates images one by one, on the host. Left out
    are what the trainer does between epochs (checkpoints) and the IWAE, whose loss in pythae is not
    the bound.
    """
    import torch
    from pythae.data.datasets import BaseDataset, DatasetOutput
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from torch import nn

    class Encoder(BaseEncoder):
        def __init__(self, hidden: nn.Module, features: int) -> None:
            super().__init__()
            self.hidden = hidden
            self.mean = nn.Linear(features, work.latent_size)
            self.log_variance = nn.Linear(features, work.latent_size)

        def forward(self, x: torch.Tensor) -> ModelOutput:
            h = self.hidden(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self, logits: nn.Module) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.sigmoid(self.logits(z)))

    class Binarised(VAE):
        def forward(self, inputs: dict[str, torch.Tensor], **kwargs: Any) -> ModelOutput:
            x = torch.bernoulli(inputs["data"])
            return super().forward(DatasetOutput(data=x), **kwargs)

    logging.disable(logging.INFO)
    torch.manual_seed(0)
    hidden, features, logits = torch_networks(work)
    shape = VAEConfig(input_dim=(784,), latent_dim=work.latent_size, reconstruction_loss="bce")
    model = Binarised(shape, Encoder(hidden, features), Decoder(logits))
    grey = torch.from_numpy(images[: work.steps * work.batch_size].astype(np.float32) / 255)

    def trainer_of(grey: torch.Tensor) -> BaseTrainer:
        config = BaseTrainerConfig(
            output_dir=folder,
            learning_rate=1e-3,
            per_device_train_batch_size=work.batch_size,
        )
        trainer = BaseTrainer(model, BaseDataset(grey, torch.zeros(len(grey))), None, config)
        trainer.prepare_training()
        return trainer

    def train(trainer: BaseTrainer) -> float:
        with contextlib.redirect_stderr(io.StringIO()):
            return trainer.train_step(1)

    with tempfile.TemporaryDirectory() as folder:
        yield train(trainer_of(grey[: work.batch_size]))
        whole = trainer_of(grey)
        while True:
            yield train(whole)


def keras(work: Work, images: np.ndarray) -> Iterator[float]:
    """Keras `fit`, on the backend that KERAS_BACKEND names. Multilayer perceptrons, one sample.

    `fit` takes the minibatches from the host.
    """
    import keras
    from keras import layers, ops

    def hidden(widths: Sequence[int]) -> keras.Model:
        return keras.Sequential([layers.Dense(w, activation=work.activation) for w in widths])

    class VAE(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder_hidden = hidden(work.widths)
            self.mean = layers.Dense(work.latent_size)
            self.log_scale = layers.Dense(work.latent_size)
            self.decoder_hidden = hidden(work.widths[::-1])
            self.logits = layers.Dense(784)
            self.random = keras.random.SeedGenerator(0)

        def call(self, grey: Any) -> Any:
            x = ops.cast(keras.random.uniform(ops.shape(grey), seed=self.random) < grey, "float32")
            h = self.encoder_hidden(x)
            mean, log_scale = self.mean(h), self.log_scale(h)
            noise = keras.random.normal(ops.shape(mean), seed=self.random)
            logits = self.logits(self.decoder_hidden(mean + ops.exp(log_scale) * noise))
            nll = ops.sum(ops.softplus(logits) - x * logits, axis=-1)
            kl = ops.sum(0.5 * (ops.exp(2 * log_scale) + mean**2 - 1) - log_scale, axis=-1)
            self.add_loss(ops.mean(nll + kl))
            return logits

    keras.utils.set_random_seed(0)
    model = VAE()
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    grey = images[: work.steps * work.batch_size].astype(np.float32) / 255

    def train(x: np.ndarray) -> float:
        fitted = model.fit(x, batch_size=work.batch_size, epochs=1, shuffle=True, verbose=0)
        return float(fitted.history["loss"][0])

    yield train(grey[: work.batch_size])
    while True:
        yield train(grey)


def numpyro(work: Work, images: np.ndarray) -> Iterator[float]:
    """NumPyro's SVI, an epoch in one jitted `fori_loop`. Multilayer perceptrons, one sample."""
    import jax
    import jax.numpy as jnp
    import numpyro
    from jax.example_libraries import stax
    from numpyro import distributions
    from numpyro.infer import SVI, TraceMeanField_ELBO

    activation = {"relu": stax.Relu, "tanh": stax.Tanh}[work.activation]

    def hidden(widths: Sequence[int]) -> list[Any]:
        return [layer for width in widths for layer in (stax.Dense(width), activation)]

    def encoder() -> Any:
        scale = stax.serial(stax.Dense(work.latent_size), stax.Exp)
        heads = stax.FanOut(2), stax.parallel(stax.Dense(work.latent_size), scale)
        return stax.serial(*hidden(work.widths), *heads)

    def decoder() -> Any:
        return stax.serial(*hidden(work.widths[::-1]), stax.Dense(784))

    def model(x: jax.Array) -> None:
        decode = numpyro.module("decoder", decoder(), (work.batch_size, work.latent_size))
        with numpyro.plate("batch", len(x)):
            prior = distributions.Normal(0, 1).expand([work.latent_size]).to_event(1)
            logits = decode(numpyro.sample("z", prior))
            numpyro.sample("x", distributions.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x: jax.Array) -> None:
        encode = numpyro.module("encoder", encoder(), (work.batch_size, 784))
        mean, scale = encode(x)
        with numpyro.plate("batch", len(x)):
            numpyro.sample("z", distributions.Normal(mean, scale).to_event(1))

    svi = SVI(model, guide, numpyro.optim.Adam(1e-3), TraceMeanField_ELBO())
    key_init, key = jax.random.split(jax.random.PRNGKey(0))
    state = svi.init(key_init, jnp.zeros((work.batch_size, 784)))
    on_device = jnp.asarray(images)

    @jax.jit
    def train(
        state: Any, images: jax.Array, key: jax.Array, steps: jax.Array
    ) -> tuple[Any, jax.Array]:
        order = jax.random.permutation(key, len(images))

        def body(i: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            state, total = carry
            rows = jax.lax.dynamic_slice(order, (i * work.batch_size,), (work.batch_size,))
            grey = images[rows] / 255.0
            x = jax.random.bernoulli(jax.random.fold_in(key, i), grey).astype(jnp.float32)
            state, loss = svi.update(state, x)  # the sum over the batch
            return state, total + loss / work.batch_size

        state, total = jax.lax.fori_loop(0, steps, body, (state, 0.0))
        return state, total / steps

    epoch = 0
    while True:
        steps = work.steps if epoch else 1
        state, loss = train(state, on_device, jax.random.fold_in(key, epoch), steps)
        yield float(loss)
        epoch += 1


def flax(work: Work, images: np.ndarray) -> Iterator[float]:
    """Flax Linen and optax, a jitted step called from a Python loop."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn
    from flax.training.train_state import TrainState

    activation = {"relu": nn.relu, "tanh": nn.tanh}[work.activation]
    conv, side = work.network == "conv", 28 // 2 ** len(work.widths)

    class VAE(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
            h = x.reshape(-1, 28, 28, 1) if conv else x
            for width in work.widths:
                h = (nn.Conv(width, (4, 4), 2) if conv else nn.Dense(width))(h)
                h = activation(h)
            h = h.reshape(len(x), -1)
            mean, log_scale = nn.Dense(work.latent_size)(h), nn.Dense(work.latent_size)(h)
            noise = jax.random.normal(key, (work.num_samples, *mean.shape))
            z = mean + jnp.exp(log_scale) * noise
            h = z.reshape(-1, work.latent_size)
            if conv:
                h = activation(nn.Dense(side * side * work.widths[-1])(h))
                h = h.reshape(-1, side, side, work.widths[-1])
            for width in work.widths[::-1]:
                h = (nn.ConvTranspose(width, (4, 4), (2, 2)) if conv else nn.Dense(width))(h)
                h = activation(h)
            h = nn.Conv(1, (3, 3))(h) if conv else nn.Dense(784)(h)
            return mean, log_scale, noise, z, h.reshape(work.num_samples, *x.shape)

    model = VAE()

    def loss_of(params: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        outputs: Any = model.apply(params, x, key)
        mean, log_scale, noise, z, logits = outputs
        nll = jnp.sum(optax.sigmoid_binary_cross_entropy(logits, x), -1)
        if work.objective == "elbo":
            kl = jnp.sum(0.5 * (jnp.exp(2 * log_scale) + mean**2 - 1) - log_scale, -1)
            return jnp.mean(nll + kl)
        log_ratio = jnp.sum(0.5 * (noise**2 - z**2) + log_scale, -1)  # of p(z) to q(z | x)
        bound = jax.nn.logsumexp(log_ratio - nll, 0) - math.log(work.num_samples)
        return -jnp.mean(bound)

    @jax.jit
    def step(
        state: TrainState, images: jax.Array, rows: jax.Array, key: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        key_x, key_z = jax.random.split(jax.random.fold_in(key, state.step))
        x = jax.random.bernoulli(key_x, images[rows] / 255.0).astype(jnp.float32)
        loss, gradients = jax.value_and_grad(loss_of)(state.params, x, key_z)
        return state.apply_gradients(grads=gradients), loss

    key_init, key_z, key = jax.random.split(jax.random.key(0), 3)
    params = model.init(key_init, jnp.zeros((work.batch_size, 784)), key_z)
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-3))
    on_device, rng = jnp.asarray(images), np.random.default_rng(0)
    batches = np.arange(work.batch_size)[None]
    while True:
        losses = []
        for rows in batches:
            state, loss = step(state, on_device, rows, key)
            losses.append(loss)
        yield float(np.mean(jax.device_get(losses)))
        order = rng.permutation(len(images))[: work.steps * work.batch_size]
        batches = order.reshape(work.steps, work.batch_size)
