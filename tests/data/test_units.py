"""One function takes images at training and afterwards: the same images are the same x."""

import json

import jax
import numpy as np
import pytest

from vae_jax.api.arguments import known_units, pictures, scaled
from vae_jax.data.binarization import scale
from vae_jax.data.source import checked_source
from vae_jax.data.units import Units, from_record, in_units, units_of
from vae_jax.errors import UserError

GREY = np.random.default_rng(0).integers(0, 256, (20, 3, 2, 1), dtype=np.uint8)
GREY[0] = 0  # a black image, and one that is nearly black
GREY[2, 0] = 255
GREY[1] = np.eye(3, 2, dtype=np.uint8)[..., None]
LIGHT = np.maximum(GREY, 40)  # no image is dark
ON = GREY > 127
SETS = {
    "levels": GREY,
    "light levels": LIGHT,
    "floats": (GREY / 255).astype(np.float32),
    "reals": (GREY / 127.5 - 1).astype(np.float32),
    "0 and 1": ON.astype(np.uint8),
    "booleans": ON,
    "0 and 255": np.where(ON, 255, 0).astype(np.uint8),
    "0.0 and 1.0": ON.astype(np.float64),
    "floats to 255": GREY.astype(np.float32),
}
KINDS = ["levels", "light levels", "floats", "reals", "0 and 1", "booleans", "0 and 255"]


def source_of(name):
    return checked_source(SETS[name], None, SETS[name][:3], None, name="mine")


@pytest.mark.parametrize("name", SETS)
def test_the_images_of_training_are_the_same_afterwards(name):
    """All of them, each alone, and as the run keeps them."""
    source = source_of(name)
    stored = source.train_images.reshape(len(GREY), -1)
    x = np.asarray(jax.jit(scale)(stored))  # as training does: alone it may divide otherwise
    np.testing.assert_array_equal(scaled(SETS[name], source.units, "real"), x)
    for i, image in enumerate(SETS[name]):
        np.testing.assert_array_equal(scaled(image[None], source.units, "real")[0], x[i])
    np.testing.assert_array_equal(scaled(source.train_images, source.units, "real"), x)


# {what trained the model: what is the same to it}; all others of KINDS are refused.
SAME = {
    "levels": {"floats", "booleans", "0 and 255", "0.0 and 1.0", "light levels", "0 and 1"},
    "light levels": {"levels", "floats", "booleans", "0 and 255", "0.0 and 1.0"},
    "floats": {"levels", "booleans", "0 and 255", "0.0 and 1.0", "light levels", "0 and 1"},
    "reals": {"floats", "0.0 and 1.0"},  # which nothing tells apart
    "0 and 1": {"booleans", "0 and 255", "0.0 and 1.0", "floats"},
    "booleans": {"0 and 1", "0 and 255", "0.0 and 1.0", "floats"},
    "0 and 255": {
        "booleans", "0 and 1", "0.0 and 1.0", "floats", "levels", "light levels"
    },
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_images_in_other_units_are_refused(name):
    units = source_of(name).units
    assert units is not None
    taken = set()
    for other, images in SETS.items():
        try:
            scaled(images, units, "real")
        except UserError as error:
            message = str(error)
            assert f"the model was trained on {units}; give " in message
            assert "\n" not in message
        else:
            taken.add(other)
    assert taken == SAME[name] | {name}


@pytest.mark.parametrize("name", ["levels", "floats", "0 and 1", "booleans"])
def test_grey_levels_that_were_made_floats_are_refused(name):
    units = source_of(name).units
    for given in (SETS["floats to 255"], SETS["floats to 255"][2:3]):
        with pytest.raises(UserError, match=r"images are floats, .* to 255, and the model was"):
            scaled(given, units, "binary")
        with pytest.raises(UserError, match="images are floats"):
            pictures(given, (3, 2, 1), units)


def test_binary_images_made_uint8_are_no_levels():
    """MNIST as (digits > 127).astype(uint8) would be black."""
    units = units_of(LIGHT, LIGHT)
    with pytest.raises(UserError, match=r"uint8, 0 to 1, and .* uint8, 40 to 255; give uint8"):
        in_units(SETS["0 and 1"], units, "images")
    np.testing.assert_array_equal(in_units(GREY[:1], units, "images"), GREY[:1])  # black
    binary = source_of("0 and 255").units
    assert binary is not None
    np.testing.assert_array_equal(in_units(SETS["0 and 1"], binary, "images"), SETS["0 and 255"])


def test_what_a_model_gives_may_be_given_back():
    units = units_of(GREY, GREY)
    near = np.array([-0.05, 1.1, 0.5, 0, 1, 0.3], np.float32).reshape(1, 3, 2, 1)
    np.testing.assert_array_equal(scaled(near, units, "real"), near.reshape(1, -1))
    with pytest.raises(UserError, match=r"-0.05 to 1.1, and the model"):
        scaled(near, units, "binary")
    far = 3.3 * near  # a mean of a Gaussian far from the data
    np.testing.assert_array_equal(pictures(far, (3, 2, 1), units), far.clip(0, 1))


def test_floats_of_counts_are_in_the_scale_of_the_counts():
    counts = np.arange(24, dtype=np.uint8).reshape(4, 3, 2, 1) % 7
    units = units_of(counts, counts)
    floats = (counts / 255).astype(np.float32)
    x = scaled(counts, units, "counts")
    np.testing.assert_allclose(x, scaled(floats, units, "counts"), rtol=1e-6)
    with pytest.raises(UserError, match="images are floats, 0 to 6"):
        scaled(counts.astype(np.float32), units, "counts")
    few = counts // 6  # 0 and 1, which is no binary image here
    np.testing.assert_array_equal(scaled(few, units, "counts"), jax.jit(scale)(few.reshape(4, -1)))


def test_the_run_folder_keeps_them():
    for images in SETS.values():
        units = units_of(images, images)
        assert from_record(json.loads(json.dumps(units._asdict()))) == units
    assert from_record(None) is None
    for damaged in ({}, {"dtype": "uint8"}, [1], {**units._asdict(), "low": "x"}):
        with pytest.raises(UserError, match="`units` is damaged"):
            from_record(damaged)


def test_without_units_the_likelihood_says_what_it_can():
    """A run of an earlier version, whose images are gone."""
    units = known_units(None, "binary")
    with pytest.raises(UserError, match="trained on images, 0 to 1"):
        scaled(SETS["floats to 255"], units, "binary")
    np.testing.assert_array_equal(scaled(GREY, units, "binary"), scaled(GREY, None, "real"))
    assert known_units(None, "real") is None
    assert known_units(Units("uint8", 0, 9, 1, False), "binary") == Units("uint8", 0, 9, 1, False)


def test_booleans_beside_uint8_are_refused():
    """They became 0 and 255, beside images of 0 and 1."""
    with pytest.raises(UserError, match="both should have one type"):
        checked_source(SETS["booleans"], None, SETS["0 and 1"], None, name="mine")
