"""The programs of docs/export.md run as printed, without vae_jax, and give what it gives."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import vae_jax

pytestmark = pytest.mark.slow  # `docs` of noxfile.py runs them

KEPT = Path(__file__).parent / "small_0_2"
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
BLOCKS = re.findall(r"^```(?:python|py)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
WITHOUT = "import sys; sys.modules['vae_jax'] = None\n"  # importing it raises
MADE = np.random.default_rng(0).random((2, 36)).astype(np.float32)


def block(word: str) -> str:
    (found,) = (body for body in BLOCKS if word in body)
    return found


def ran(tmp_path, code: str, kept: str) -> dict[str, np.ndarray]:
    """The arrays of these names that the code has at its end, in a process without vae_jax."""
    (tmp_path / "exported").symlink_to(KEPT)
    np.save(tmp_path / "x.npy", MADE)
    save = f"np.savez('out.npz', **{{n: np.asarray(globals()[n]) for n in {kept.split()}}})"
    code = f"{WITHOUT}{code}\nimport numpy as np\n{save}\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as out:
        return dict(out)


@pytest.fixture(scope="module")
def model():
    return vae_jax.load_exported(KEPT)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    jax.__version_info__ < (0, 10),
    reason="the kept programs are of jax 0.10.2: 0.8.0 can't run them",
)
def test_the_script_needs_jax_and_safetensors_alone(tmp_path, model):
    script = block("functions = {")
    assert len(script.splitlines()) <= 30
    out = ran(tmp_path, f"{script}mean = q['mean']\n", "made nats rebuilt mean")
    images = model.generate(3)
    close(out["made"].reshape(3, 6, 6), images)
    close(out["mean"], model.encode(images))
    close(out["rebuilt"].reshape(3, 6, 6), model.decode(out["mean"]))
    close(out["nats"], model.elbo((images > 0.5).astype(np.float32)))


def assert_weights(out, model):
    said = model.posterior(MADE)
    close(out["mean"], said["mean"])
    close(out["sd"], said["sd"])
    close(out["images"].reshape(2, 6, 6), model.decode(said["mean"]))


def test_the_weights_in_numpy(tmp_path, model):
    code = re.sub(r"^x = .*", "x = np.load('x.npy')", block("1 / (1 + np.exp"), flags=re.MULTILINE)
    assert_weights(ran(tmp_path, code, "mean sd images"), model)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_the_weights_in_pytorch(tmp_path, model):
    given = "import numpy; x = torch.from_numpy(numpy.load('x.npy'))"
    code = re.sub(r"^x = .*", given, block("import torch"), flags=re.MULTILINE)
    out = ran(tmp_path, code + "    mean, sd = codes, sds\n", "mean sd images")
    assert_weights(out, model)
