"""What `vae-jax list` says of the families, and what it writes."""

from configs import default
from vae_jax.cli.main import main
from vae_jax.config.listing import default_text, described, families, listing
from vae_jax.config.schema import KEYS, flatten
from vae_jax.networks import NETWORKS


def test_list_names_every_member_under_its_key(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == listing()
    lines = printed.splitlines()
    for name, key in families().items():
        default = ",".join(key.default) if isinstance(key.default, tuple) else key.default
        at = lines.index(f"--config.{name}={default}")
        while lines[at].startswith("--config."):  # others with the same names
            at += 1
        below = [line.split()[0] for line in lines[at : at + len(key.choices)]]
        assert below == sorted(key.choices)
    said = [line for line in lines if line.startswith("  ")]
    twice = {line for line in said if said.count(line) > 1}
    # A network is listed as an encoder and as a decoder: there are decoders that are no encoders.
    assert {line.split()[0] for line in twice} <= {"none", "auto", "gaussian", *NETWORKS}


def test_every_member_says_what_it_is():
    for name, key in families().items():
        for choice, member in key.choices.items():
            said_by_jax = name.endswith("activation")
            assert described(member) or said_by_jax, (name, choice)


def test_default_is_what_the_declarations_say(capsys):
    """To write it anew: vae-jax list --write > configs/default.py"""
    assert main(["list", "--write"]) == 0
    written = capsys.readouterr().out
    assert written == default_text()
    with open(default.__file__) as file:
        assert file.read() == written
    assert flatten(default.get_config()) == {name: key.default for name, key in KEYS.items()}
