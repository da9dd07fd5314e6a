"""Which estimator has the best gradient, early in training and late?

    python -m experiments.gradient_variance --workdir=runs/gradient_variance

trains one VAE (784-200-200-50, tanh, batch 100, with the ELBO) and pauses at each of `--steps`. At
these steps the params and one minibatch (always the first validation images) are held fixed, and
every estimator that fits the model gives `--gradients` independent gradients. All are gradients of
the bound itself (beta 1) with K samples of z for each example, so all decode equally often. For
every estimator, the encoder's params and the decoder's have:

- variance: E|g - E g|^2, the trace of the gradient's covariance;
- SNR, signal-to-noise ratio: the mean over parameters of |mean g| / std g, without those whose std
  is 0 (weights of pixels that are never on). Pure noise has sqrt(2 / (pi gradients)), not 0;
- p: tests whether the mean equals that of the bound's first estimator, by Welch's t along
  DIRECTIONS random unit vectors, corrected for directions and steps (Bonferroni). p < 0.001 is a
  bias.

miwae has its K samples in two groups; piwae combines miwae's encoder gradient with iwae's decoder
gradient. The encoders of wake_wake and wake_sleep maximise another objective than the bound: their
p should be small, and is marked *. --config=FILE trains that config's first seed instead. It takes
about three minutes.

What was found (in 2:34 without compiled programs; two shared cores of an AMD EPYC, jax 0.10.2,
2026-11-24; 200 gradients each; eight of the variances, measured again with other keys, changed by
at most 3%):

                                     variance (SNR) of the encoder's gradient
                                  step 0        step 100      step 5,000
    elbo, reparameterized         5.2 (8.1)     47 (1.6)      98 (2.0)
      sampled KL                  52 (2.6)      76 (1.3)      116 (1.7)
      sticking_the_landing        23 (3.9)      38 (1.8)      44 (2.8)
    iwae, reparameterized         171 (1.0)     232 (0.45)    384 (0.65)
      doubly_reparameterized      61 (1.6)      91 (0.7)      126 (1.1)
      wake_wake                   148 (0.3)     148 (0.2)     363 (0.3)
      wake_sleep                  638 (0.8)     545 (0.8)     1,600 (0.7)
    miwae, reparameterized        102 (1.4)     147 (0.6)     237 (0.9)
      doubly_reparameterized      39 (2.3)      60 (1.0)      82 (1.6)

- At the start the closed-form KL is best (a fourth of sticking_the_landing's variance). From step
  100 on sticking_the_landing has the lowest variance, 2.2 times less at step 5,000. A sampled KL
  without sticking_the_landing is never better than either.
- doubly_reparameterized has 2.4 to 3.3 times less variance than reparameterized on the same bound,
  and 1.5 to 1.8 times its SNR. The tighter the bound (elbo, miwae, iwae), the worse the encoder's
  gradient.
- The decoder's gradient does not depend on the encoder's estimator. At step 5,000 its variance
  (SNR) is 19.5 (4.8) for the elbo, 38 (3.2) for miwae and 60 (2.4) for the iwae.
- 50 tests of unbiased estimators found no bias (the smallest p is 0.016; one in 50 is expected).
  The test does detect bias: wake_wake has p < 1e-15 at each step. sticking_the_landing with the
  iwae, which a config refuses as biased, was put in by hand: p = 3e-7 at step 100, 1e-27 at 5,000.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from configs import default
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.config.build import Config, lane_spec, overridden
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data.binarization import scale
from vae_jax.data.dataset import Dataset
from vae_jax.devices.lanes import to_host
from vae_jax.devices.setup import use_cache, use_cores
from vae_jax.errors import UserError
from vae_jax.evaluation.gradients import (
    PARTS,
    Quality,
    bias_test,
    directions,
    gradient_quality,
    noise_floor,
    parts_of,
)
from vae_jax.figures.gradients import gradients
from vae_jax.folders import folder
from vae_jax.folders.environment import environment
from vae_jax.folders.kinds import kind_of
from vae_jax.models.model import Model, Variables
from vae_jax.objectives import Objective
from vae_jax.runs.run import (
    Run,
    evaluation_labels,
    first_state,
    lane_model,
    make_run,
    on_devices,
)
from vae_jax.training.loop import train_chunks

K = 6
DIRECTIONS = 20
FIGURE = "gradient_variance.png"

Estimator = tuple[str, str]  # its bound, and the name of its gradient

# The config keys that make each. Those after a bound's first without a bias are tested against it.
ROWS: dict[Estimator, dict[str, Any]] = {
    ("elbo", "reparameterized"): {},
    ("elbo", "reparameterized, sampled KL"): {"objective.kl": "sampled"},
    ("elbo", "sticking_the_landing"): {
        "objective.kl": "sampled",
        "objective.gradient": "sticking_the_landing",
    },
    **{
        ("iwae", gradient): {"objective.name": "iwae", "objective.gradient": gradient}
        for gradient in ("reparameterized", "doubly_reparameterized", "wake_wake", "wake_sleep")
    },
    **{
        ("miwae", gradient): {
            "objective.name": "miwae",
            "objective.num_groups": 2,
            "objective.gradient": gradient,
        }
        for gradient in ("reparameterized", "doubly_reparameterized")
    },
    # Of a discrete z; leave_one_out goes with all that have a density.
    ("elbo", "exact"): {
        "objective.gradient": "exact",
        "objective.num_samples": 1,
        "evaluation.num_samples": 1,
    },
    **{
        (bound, "leave_one_out"): {
            "objective.name": bound,
            "objective.gradient": "leave_one_out",
        }
        for bound in ("elbo", "iwae")
    },
    **{
        ("elbo", gradient): {"objective.gradient": gradient}
        for gradient in ("disarm", "straight_through", "relaxed")
    },
}
OTHER_TARGET = ("wake_wake", "wake_sleep")  # of their encoder
BIASED = ("straight_through", "relaxed")


def get_config() -> ConfigDict:
    """The run that is measured if no other is given."""
    config = default.get_config()
    config.model.latent_size = 50
    config.model.encoder.widths = (200, 200)
    config.model.encoder.activation = "tanh"
    config.model.decoder.widths = (200, 200)
    config.model.decoder.activation = "tanh"
    config.model.decoder.output_bias_from_data = True
    config.training.batch_size = 100
    return config


def define(values: flags.FlagValues) -> None:
    """Defines the flags of this command."""
    flags.DEFINE_list("steps", "0,100,500,2000,5000", "when to measure", flag_values=values)
    flags.DEFINE_integer("gradients", 200, "of each estimator", lower_bound=2, flag_values=values)


def checked_steps(texts: Sequence[str], total: int) -> list[int]:
    """Raises UserError if they are not increasing whole numbers within the run."""
    shown = ",".join(texts)
    steps = [int(text) for text in texts if text.strip().isdecimal()]
    if not steps or len(steps) < len(texts) or steps != sorted(set(steps)):
        raise UserError(f"--steps={shown} should be increasing whole numbers, such as 0,100,500")
    if steps[-1] > total:
        raise UserError(
            f"--steps={shown} should be at most the run's {total} steps; take fewer, or more "
            "training.num_epochs"
        )
    return steps


def objectives_for(config: Config, data: Dataset) -> dict[Estimator, Objective]:
    """The estimators that go with the model; says which are left out, and why.

    Raises:
      UserError: none does.
    """
    usual = check(default.get_config()).values
    plain = {k: v for k, v in usual.items() if k.startswith("objective.")}
    k = {"objective.num_samples": K, "evaluation.num_samples": K}
    objectives = {}
    for row, changes in ROWS.items():
        try:
            changed = check(nest(config.values | plain | k | changes))
        except UserError as error:
            print(f"{', '.join(row)} is left out: {error}")
        else:
            objectives[row] = lane_spec(changed, data).objective
    if not objectives:
        raise UserError("no estimator goes with this config's model; take another --config")
    return objectives


def trajectory(run: Run, steps: Sequence[int]) -> Iterator[tuple[Model, Variables]]:
    """The run's model and its variables after each of `steps`.

    Raises:
      UserError: it diverged before.
    """
    program, state, last = on_devices(run), first_state(run), 0
    for step in steps:
        for chunk in train_chunks(*program, state, first_step=last, total_steps=step):
            state, last = chunk.state, chunk.step
        on_host = to_host(run.layout, state)
        if on_host.diverged_step[0] >= 0:
            raise UserError(
                f"the run diverged at step {on_host.diverged_step[0]}; take earlier --steps or a "
                "lower optimizer.learning_rate"
            )
        yield lane_model(run, on_host.variables, 0)


def measure(
    run: Run, steps: Sequence[int], objectives: dict[Estimator, Objective], num_gradients: int
) -> list[dict[str, Any]]:
    """A row for each step, estimator and part of the params."""
    images = run.data.validation.images[: run.spec.training.batch_size]
    labels = evaluation_labels(run, run.data.validation)
    x_bd, key = scale(jnp.asarray(images)), run.keys.evaluation[0]
    programs: dict[Estimator, Callable[..., Any]] = {}
    rows: list[dict[str, Any]] = []
    label_b = None if labels is None else labels[: len(images)]
    for step, (model, variables) in zip(steps, trajectory(run, steps), strict=True):
        if not programs:
            programs = {
                estimator: jax.jit(partial(of_keys, model, objective, label_b))
                for estimator, objective in objectives.items()
            }
            units_key = jax.random.fold_in(key, len(objectives))
            units = directions(units_key, parts_of(variables["params"]), DIRECTIONS)
        references: dict[str, Estimator] = {}
        qualities: dict[Estimator, dict[str, Quality]] = {}
        for i, (estimator, program) in enumerate(programs.items()):
            keys_n = jax.random.split(
                jax.random.fold_in(jax.random.fold_in(key, i), step), num_gradients
            )
            result = jax.device_get(program(variables, keys_n, x_bd, units))
            mean_bound, qualities[estimator] = result
            if estimator[1] not in (*OTHER_TARGET, *BIASED):
                references.setdefault(estimator[0], estimator)
            reference = references.get(estimator[0])
            for part in PARTS:
                rows.append(
                    {"step": step, "bound": estimator[0], "gradient": estimator[1], "part": part}
                    | {"mean_bound": files.or_none(mean_bound)}
                    | numbers(estimator, reference, part, qualities)
                )
        means = {row["bound"]: row["mean_bound"] for row in rows if row["step"] == step}
        shown = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
        print(f"step {step}: {shown} nats per example of the minibatch", flush=True)
    return rows


def of_keys(
    model: Model,
    objective: Any,
    label_b: Any,
    variables: Variables,
    keys_n: Key[Array, " n"],
    x_bd: Float[Array, "b d"],
    units: Any,
) -> tuple[Float[Array, ""], dict[str, Quality]]:
    """`gradient_quality`, the arguments in an order for `partial`."""
    return gradient_quality(model, variables, keys_n, x_bd, objective, units, label_b)


def numbers(
    estimator: Estimator,
    reference: Estimator | None,
    part: str,
    qualities: dict[Estimator, dict[str, Quality]],
) -> dict[str, Any]:
    """What is said of an estimator and a part at one step; no test of the reference itself."""
    quality, test = qualities[estimator][part], None
    if reference not in (None, estimator):
        test = bias_test(quality.projection_nr, qualities[reference][part].projection_nr)
    return {
        "variance": files.or_none(float(quality.variance)),
        "signal_to_noise": files.or_none(float(quality.signal_to_noise)),
        "other_target": part == "encoder" and estimator[1] in (*OTHER_TARGET, *BIASED),
        "largest_t": files.or_none(test.largest_t) if test else None,
        "p_value": test.p_value if test else None,
    }


def table(rows: list[dict[str, Any]], steps: Sequence[int]) -> str:
    """A line for each estimator: at each step its variance and signal-to-noise ratio; and one p."""
    lines = []
    for part in PARTS:
        head = "".join(f"{f'step {step:,}':>16}" for step in steps)
        lines += ["", f"{part + ': variance, SNR':31}{head}{'p':>9}"]
        for bound, gradient in dict.fromkeys((row["bound"], row["gradient"]) for row in rows):
            by_step = [
                row
                for row in rows
                if (row["part"], row["bound"], row["gradient"]) == (part, bound, gradient)
            ]
            cells = "".join(
                f"{shown(row['variance'], '.3g'):>10}{shown(row['signal_to_noise'], '.2f'):>6}"
                for row in by_step
            )
            tested = [row["p_value"] for row in by_step if row["p_value"] is not None]
            p = shown_p(min(1.0, len(tested) * min(tested))) if tested else "-"
            star = "*" if by_step[0]["other_target"] else ""
            lines.append(f"{f'{bound}, {gradient}':31}{cells}{p + star:>9}")
    return "\n".join(lines[1:])


def shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def shown_p(p: float) -> str:
    return f"{p:.1g}" if p >= 1e-9 else "<1e-9"


def draw(path: Path, rows: list[dict[str, Any]], steps: Sequence[int], num_gradients: int) -> None:
    """The figure."""
    estimators = list(dict.fromkeys((row["bound"], row["gradient"]) for row in rows))

    def of(name: str) -> dict[str, np.ndarray]:
        return {
            part: np.array(
                [
                    [row[name] for row in rows if row["part"] == part and of_row(row) == estimator]
                    for estimator in estimators
                ],
                float,
            )
            for part in PARTS
        }

    gradients(
        path,
        steps,
        estimators,
        of("variance"),
        of("signal_to_noise"),
        floor=noise_floor(num_gradients),
        title=f"gradient estimators: {num_gradients} gradients of {K} samples of z an example\n"
        f"the encoder of {' and '.join(OTHER_TARGET)} climbs another objective than the bound",
    )


def of_row(row: dict[str, Any]) -> Estimator:
    return row["bound"], row["gradient"]


def refuse_run(workdir: Path) -> None:
    """Raises UserError if `workdir` holds a run, whose results would be lost."""
    if kind_of(workdir) is not None:
        raise UserError(f"{workdir} holds a run or a sweep; take another --workdir")


def run(arguments: Sequence[str]) -> None:
    began = time.monotonic()
    command = cli.parse(arguments, lambda workdir: (get_config(), {}), define)
    workdir, num_gradients = command.workdir, command.flags.gradients
    config = check(command.config)
    config = overridden(config, {"training.seeds": config.training.seeds[:1]})
    refuse_run(workdir)
    use_cores()
    use_cache()
    plan = make_run(config, workdir)
    steps = checked_steps(command.flags.steps, plan.total_steps)
    objectives = objectives_for(config, plan.data)
    with folder.locked(workdir):
        rows = measure(plan, steps, objectives, num_gradients)
        print("\n" + table(rows, steps))
        figure = workdir / folder.FIGURES / FIGURE
        draw(figure, rows, steps, num_gradients)
        results = {
            "config": nest(config.values),
            "environment": environment(),
            "dataset": plan.data.identity,
            "samples": K,
            "draws": num_gradients,
            "directions": DIRECTIONS,
            "noise_floor": noise_floor(num_gradients),
            "rows": rows,
            "wall_seconds": round(time.monotonic() - began, 3),
        }
        files.write_json(workdir / folder.RESULTS, results)
    print(f"\nresults      {workdir / folder.RESULTS}\nfigure       {figure}")


if __name__ == "__main__":
    sys.exit(cli.answer(lambda: run(sys.argv[1:])))
