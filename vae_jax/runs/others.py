"""A run on other images than its own: on/NAME_CHECKSUM8/ in its folder."""

from pathlib import Path

from vae_jax import files
from vae_jax.config.needs import refuse_measured_data
from vae_jax.data.others import Others, on_others
from vae_jax.folders import folder
from vae_jax.runs.run import Run

FEATURES = "features.npz"  # the feature space of `samples`, trained on the training set


def run_on(run: Run, others: Others, workdir: Path) -> Run:
    """The run, with others as its test set, and `workdir` as its folder.

    Its training set stays its own: metrics fit to it, and measure on the others.

    Raises:
      UserError: the images do not fit the model, or a metric.
    """
    able = run.spec.model.abilities
    data = on_others(
        run.data,
        others,
        run.spec.model.likelihood.support,
        reads_labels=able.reads_labels and not able.infers_labels,
    )
    refuse_measured_data(run.config, data)
    return run._replace(workdir=workdir, data=data)


def with_features_of(home: Path, run: Run) -> None:
    """Takes the feature space of the run in `home`, if it has one: scores are comparable then."""
    source, target = home / folder.EVALUATION / FEATURES, run.workdir / folder.EVALUATION / FEATURES
    if source.is_file() and not target.exists():
        target.parent.mkdir(exist_ok=True)
        files.write_bytes(target, source.read_bytes())
