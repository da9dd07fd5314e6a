"""The kinds of models that are exported; exports with other files, whose checksums are right."""

import hashlib
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

from vae_jax.exports.folder import sealed

SAMPLED = {"objective.kl": "sampled"}
GREY = {"dataset.binarization": "none"}
FLOW = {"model.flow.layers": 2, "model.flow.width": 8}
BOOK = {"model.codebook.entries": 8, "model.codebook.width": 2, "model.prior": "uniform"}
CAUSAL = {"model.causal.layers": 1, "model.causal.width": 8}
CATEGORICAL = {"model.posterior": "categorical", "model.categories": 4, "model.prior": "uniform"}
LEAVE_ONE_OUT = {"objective.gradient": "leave_one_out", "objective.num_samples": 4}
POINT = {"model.posterior": "deterministic", "objective.name": "rae"}
PIXELCNN = {
    "model.decoder.name": "pixelcnn", "model.decoder.layers": 1, "model.decoder.features": 4,
    "model.decoder.kernel_size": 3,
}  # fmt: skip
M2 = {"model.name": "m2", "objective.name": "m2", "dataset.num_labels": 30}

# {kind of model: (config keys, functions that it does not have)}
KINDS = {
    "conv": ({"model.encoder.name": "conv", "model.decoder.name": "conv"}, ()),
    "resnet": ({"model.encoder.name": "resnet", "model.decoder.name": "gated_mlp"}, ()),
    "grid": ({"model.encoder.name": "grid", "model.latent_size": 9}, ()),
    "labels": ({"model.conditional": True, "model.prior": "learned_gaussian"}, ()),
    "full": ({"model.posterior": "full"}, ()),
    "mixtures": ({"model.posterior": "mixture", "model.prior": "mixture", **SAMPLED}, ()),
    "vampprior": ({"model.prior": "vampprior", "model.prior_components": 5, **SAMPLED}, ()),
    "realnvp": ({"model.prior": "realnvp", **FLOW, **SAMPLED}, ()),
    "autoregressive": ({"model.prior": "autoregressive", **FLOW, **SAMPLED}, ()),
    "iaf": ({"model.posterior": "inverse_autoregressive", **FLOW, **SAMPLED}, ()),
    "planar": ({"model.posterior": "planar", **FLOW, **SAMPLED}, ()),
    "categorical": (CATEGORICAL | LEAVE_ONE_OUT, ()),
    "causal": (CATEGORICAL | LEAVE_ONE_OUT | CAUSAL | {"model.prior": "causal", **SAMPLED}, ()),
    "vq": ({"model.posterior": "vq"} | BOOK, ()),
    "fsq": ({"model.posterior": "fsq", "model.levels": (3, 3), "model.prior": "uniform"}, ()),
    "rae": (POINT, ("elbo",)),
    "aae": (POINT | {"objective.name": "aae", "training.keep": "last"}, ("elbo",)),
    "avb": ({"model.posterior": "implicit", "objective.name": "avb"}, ("elbo",)),
    "two_layers": ({"model.name": "two_layers", "model.top.latent_size": 2, **SAMPLED}, ()),
    "ladder": ({"model.name": "ladder", "model.upper.latent_sizes": (2,)}, ()),
    "hierarchy": ({"model.name": "hierarchy", "model.upper.latent_sizes": (2,), **SAMPLED}, ()),
    "top_down": (
        {"model.name": "top_down", "model.blocks.width": 8, "model.blocks.bottleneck": 4}, ()
    ),
    "m2": (M2, ()),
    "pixelcnn": (PIXELCNN, ()),
    "levels": ({"model.likelihood": "discretized_logistic_mixture", **GREY}, ()),
    "real": ({"model.likelihood": "gaussian_optimal_scale", **GREY}, ()),
}  # fmt: skip


class Touching:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def reseal(folder: Path, **changes) -> None:
    """Writes config.json anew: with these entries, and the sums of the files that are there."""
    description = json.loads((folder / "config.json").read_text()) | changes
    for name in description["files"]:
        content = (folder / name).read_bytes()
        description["files"][name] = {
            "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip
    (folder / "config.json").write_bytes(sealed(description))


def zip_bomb() -> bytes:
    """10 kB that unpack to 10 MB."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("params/encoder/mean/bias.npy", bytes(10_000_000))
    return content.getvalue()


def header(text: str, size: int | None = None) -> bytes:
    """A safetensors file of that header alone, which says that it has `size` bytes."""
    return struct.pack("<Q", len(text) if size is None else size) + text.encode()


def no_weights(evidence: Path) -> dict[str, bytes]:
    """Contents that are no weights, by what they are."""
    claims = '{"a": {"dtype": "F32", "shape": [%d], "data_offsets": [0, %d]}}'
    return {
        "a pickle": pickle.dumps(Touching(evidence)),
        "a zip bomb": zip_bomb(),
        "a long header": header("{}", 2**62),
        "a header longer than the file": header("{}", 50_000_000),
        "an array larger than the file": header(claims % (2**40, 2**42)),
        "an array of another size": header(claims % (2**40, 4)) + bytes(4),
        "no arrays": header("{}"),
        "nothing": b"",
        "text": b"weights",
    }
