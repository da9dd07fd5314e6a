"""What does a lane of each network cost, with lanes one after another and side by side?

    python -m benchmarks networks

times a step of four lanes with each network (two layers of 400 units; convolutions to 16 and 32
channels; 28 x 28, 20 latent units, batch 128) on one device, with `training.lanes_at_once` of 1, 2
and 4, and prints milliseconds per step and lane. Writes JSON under benchmarks/results/. Takes about
nine minutes on two cores.
"""

from benchmarks.machine import leave
from benchmarks.objectives import least, steps_of
from configs import default
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.networks import NETWORKS
from vae_jax.runs.run import make_dataset

LANES = 4
STEPS = 20
AT_ONCE = (1, 2, 4)
WIDTHS = {"conv": (16, 32), "resnet": (16, 32)}


def main() -> None:
    base = check(default.get_config())
    data = make_dataset(base)
    rows: dict[str, dict[str, float]] = {}
    print(f"{'milliseconds a step and lane':30}" + "".join(f"{n:>4} at once" for n in AT_ONCE))
    for name in NETWORKS:
        widths = WIDTHS.get(name, (400, 400))
        changes = {
            "model.encoder.name": name,
            "model.encoder.widths": widths,
            "model.decoder.name": name,
            "model.decoder.widths": widths[::-1],
        }
        ways = {
            str(n): steps_of(
                check(nest(base.values | changes | {"training.lanes_at_once": n})),
                data,
                LANES,
                STEPS,
            )
            for n in AT_ONCE
        }
        rows[name] = {n: milliseconds / LANES for n, milliseconds in least(ways).items()}
        print(f"{name:30}" + "".join(f"{ms:12.2f}" for ms in rows[name].values()), flush=True)
    leave("networks", {"milliseconds a step and lane, by lanes at once": rows})
