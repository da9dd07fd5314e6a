"""Loads a trained run from its folder."""

from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Checkpoints, Progress, template
from vae_jax.runs.run import Run, make_start


def load_progress(run: Run, *, with_rows: bool = False) -> Progress:
    """The newest intact checkpoint of the run; prints a line for each newer, damaged one.

    `with_rows`: the rows of metrics.jsonl are needed too.

    Raises:
      UserError: there is none, or the run was started with other data or code, or its rows are not
        those that were saved.
    """
    folder.refuse_other_data(run.workdir, run.data.identity)
    path = run.workdir / folder.CHECKPOINTS
    done = None
    if path.exists():
        with Checkpoints(path, keep=None) as checkpoints:
            done = checkpoints.restore(template(run.spec, make_start(run)))
            folder.refuse_other_identity(run.workdir, checkpoints.restored, run.data.identity)
            folder.refuse_other_code(run.workdir, checkpoints.restored, run.config)
            if with_rows and "rows" in checkpoints.restored:
                folder.kept_rows(run.workdir, folder.Rows(*checkpoints.restored["rows"]))
    if done is None:
        raise UserError(f"{run.workdir} has no checkpoint yet; train it first")
    return done
