"""What a family asks of its members: the page, and the check of user-defined members."""

from pathlib import Path
from typing import ClassVar

import pytest

from tests.small.own_members import forget
from vae_jax.config.declared import families_of
from vae_jax.config.import_members import import_members
from vae_jax.config.members import TITLES, members_page
from vae_jax.config.schema import SECTIONS
from vae_jax.errors import UserError
from vae_jax.networks.interface import EncoderNetwork
from vae_jax.objectives.interface import Bound, Regularizer
from vae_jax.probability.interface import Likelihood
from vae_jax.sections.declare import section, traced
from vae_jax.sections.interface import Part, attributes, complete, missing

PAGE = Path(__file__).parents[2] / "docs" / "members.md"


def test_the_page_is_what_the_protocols_say():
    assert PAGE.read_text() == members_page(), "python -m vae_jax.config.members > docs/members.md"


def test_every_family_has_a_protocol_and_a_title_and_its_members_have_all():
    families = families_of(SECTIONS)
    assert families.keys() == TITLES.keys()
    for members, interface in families.values():
        assert interface is not Part
        for name, member in members.items():
            assert missing(member, interface) == [], name
            for attribute in attributes(interface):
                assert hasattr(member(), attribute), (name, attribute)


def test_every_attribute_has_a_line_of_its_own():
    for _, interface in families_of(SECTIONS).values():
        for name, attribute in attributes(interface).items():
            assert attribute.__doc__, (interface, name)


@section
class Misspelt:
    params_per_dim: ClassVar = 1
    suport: ClassVar = "real"

    def init(self, scale=1.0):
        return {}

    def distribution(self, params, raw):
        return raw

    def initial_bias(self, mean_d, scale=1.0):
        return mean_d


def test_a_misspelt_attribute_is_missing():
    assert missing(Misspelt, Likelihood) == ["support"]


@section
class Inherits(Regularizer):
    weight: float = traced(0.0, lambda key, value: value, "its weight")


@section
class Alone:
    weight: float = traced(0.0, lambda key, value: value, "its weight")


@pytest.mark.parametrize("cls", [Inherits, Alone])
def test_a_call_is_asked_for_too_also_of_a_member_that_inherits(cls):
    """Every class can be called: that makes no instance callable."""
    assert missing(cls, Regularizer) == ["__call__"]


@section
class Own:
    terms: ClassVar = ("mine",)

    def loss(self, *_):
        return 0.0


def test_an_optional_attribute_has_its_default_and_an_own_one_stays():
    assert missing(Own, Bound) == []
    complete(Own, Bound)
    assert (Own().infers_labels, Own().is_unit_by_unit, Own().terms) == (False, False, ("mine",))
    assert list(Own().needs(None)) == list(Own().idle(None)) == []


ENCODER = '''
from vae_jax.sections.declare import section


@section
class alone:
    """It encodes only."""

    def encoder(self, image_shape, heads, context_size=0):
        return None
'''
NOT_A_DISTRIBUTION = """
from vae_jax.sections.declare import section


class Nothing:
    def sample(self, key, k):
        return None

    def means(self):
        return None

    log_prob = None


@section
class nothing:
    distribution_type = Nothing

    def heads(self, latent_size):
        return ()

    def distribution(self, params, outputs, mask_l=None):
        return Nothing()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "parts.py").write_text(ENCODER)
    (tmp_path / "near.py").write_text(NOT_A_DISTRIBUTION)
    forget()
    yield tmp_path
    forget()


def test_an_encoder_needs_no_decoder_and_is_none(here):
    members = import_members({"model.encoder.name": "parts:alone"})
    assert list(members) == [("model.encoder.name", "parts:alone")]
    assert missing(members["model.encoder.name", "parts:alone"].cls, EncoderNetwork) == []
    with pytest.raises(UserError, match=r"alone has no decoder\(image_shape, .*#a-decoder"):
        import_members({"model.encoder.name": "parts:alone", "model.decoder.name": "parts:alone"})


def test_a_distribution_is_checked_too(here):
    with pytest.raises(
        UserError, match=r"Nothing has no mean\(\); what a posterior has: .*members.*#a-posterior"
    ):
        import_members({"model.posterior": "near:nothing"})
