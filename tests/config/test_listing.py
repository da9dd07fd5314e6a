"""What `vae-jax list` and README say of the families."""

from pathlib import Path

import pytest

from vae_jax.cli import main
from vae_jax.config.listing import FAMILIES, listing
from vae_jax.config.schema import KEYS

README = (Path(__file__).parents[2] / "README.md").read_text()
MEMBERS = [(key, name) for key, family in FAMILIES.items() for name in family]


def test_list_names_every_member_under_its_key(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == listing()
    lines = printed.splitlines()
    for key, family in FAMILIES.items():
        at = lines.index(f"--config.{key}=")
        below = [line.split()[0] for line in lines[at + 1 : at + 1 + len(family)]]
        assert below == sorted(family)
    assert FAMILIES.keys() <= KEYS.keys()


@pytest.mark.parametrize(("key", "name"), MEMBERS)
def test_readme_has_every_member(key, name):
    assert f"`{name}`" in README, key
