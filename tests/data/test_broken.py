"""Image files that can't be read."""

import numpy as np
import pytest
from PIL import Image

from vae_jax.data.own import broken, image_files
from vae_jax.errors import Unreadable, UserError


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_broken_files_can_be_skipped(tmp_path, monkeypatch, in_memory):
    """Cut ones and texts; which they are is found once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "pets"
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for i in range(10):
            image = rng.integers(0, 256, (40, 40), dtype=np.uint8)
            Image.fromarray(image).save(folder / kind / f"{i}.png")
    (folder / "cat" / "0.png").write_text("no image")
    whole = (folder / "dog" / "7.png").read_bytes()
    (folder / "dog" / "7.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unreadable, match="can't be read as an image"):
        image_files.load(str(folder), (), in_memory)
    for _ in range(2):
        source = image_files.load(str(folder), (), in_memory, "skip")
        assert len(source.train_images) + len(source.test_images) == 18
        said = next(note for note in source.notes if note.startswith("skipped"))
        assert said == f"skipped: 2 files that can't be read, such as {folder / 'cat' / '0.png'}"
        monkeypatch.setattr(broken, "is_broken", None)  # is not asked again
    monkeypatch.undo()
    for file in (folder / "cat").iterdir():
        file.write_text("no image")
    (folder / "cat").rename(folder / "train")
    (folder / "dog").rename(folder / "test")
    with pytest.raises(UserError, match="none of 10 files can be read"):
        image_files.load(str(folder), (), in_memory, "skip")
