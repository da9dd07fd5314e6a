"""What `vae-jax --help` and `vae-jax VERB --help` print."""

HELP = """\
usage: vae-jax VERB FLAGS       `vae-jax VERB --help` has all flags of a verb

  train     trains a VAE from a config file; goes on with a run that was stopped
  evaluate  measures a trained run or sweep on the test set
  sweep     trains many configs in as few compiled programs as there can be
  search    trains many configs, and stops those that are behind
  report    prints and plots results; writes a page, or a table for a paper
  compare   puts several runs into one table
  explore   serves a page on which to move through the latent space
  export    writes a trained model as a folder that runs without this package
  list      names all that a config key can choose
  cache     says what is kept beside the runs, and removes it

  --config=FILE       a config file, or the name of one, such as mnist
  --config.KEY=VALUE  sets one config key; configs/default.py explains each key
  --workdir=FOLDER    the run folder: what is trained is kept there
  --version           prints the version

  vae-jax train --config=mnist --workdir=runs/mnist --config.model.latent_size=8
  vae-jax sweep --config=sweeps/latent_size --workdir=runs/latent_size

exit codes: 0 done; 2 a mistake in the command, config, data or folder; 1 else
"""

CONFIG = """\
  --config=FILE       a config file, or the name of one of the package's own,
                      such as mnist or sweeps/latent_size
  --config.KEY=VALUE  sets one key, such as --config.model.latent_size=10
                      --config.model.encoder.widths=512,256
"""
SEEDS = """\
  --seeds=N           the seeds 0 to N - 1, a lane each; for other seeds
                      --config.training.seeds=3,7
"""
WORKDIR = """\
  --workdir=FOLDER    the run folder
"""
TRUST = """\
  --trust             runs the code that the run folder brings or names, such as
                      a likelihood of its own, though this machine has not run
                      it before: read it first
"""
CACHE = """\
  --nocache           compiles everything anew, and keeps nothing of it in
                      ~/.cache/vae_jax
"""
TABLE = """\
  --format=FORMAT     prints one table only: latex, csv, markdown or text
"""

INTERVAL = """\
  --interval          the interquartile mean and its 95% interval over seeds,
                      instead of the mean and its standard error
"""

VERBS = {
    "train": f"""\
usage: vae-jax train --config=FILE --workdir=FOLDER [FLAGS]

Trains a VAE from a config file, one lane a seed, and leaves results and figures
in the run folder. The same command goes on with a run that was stopped.

{CONFIG}{WORKDIR}{SEEDS}{CACHE}{TRUST}
One run over several machines is the same command on each, as tasks of one SLURM
step, or with these three:

  --coordinator=HOST:PORT  of process 0
  --num_processes=N        how many share the run
  --process_id=N           which of them this is: 0, 1, 2, ...

examples:
  vae-jax train --config=mnist --workdir=runs/mnist
  vae-jax train --config=mnist --workdir=runs/wide --config.model.latent_size=10
  vae-jax train --config=mnist --workdir=runs/five --seeds=5
""",
    "evaluate": f"""\
usage: vae-jax evaluate --workdir=FOLDER [--on=IMAGES]
                        [--config.evaluation.KEY=VALUE ...]

Measures each lane's best params on the test set, again or by more metrics, and
writes results and figures. The config is that of the run folder; evaluation.*
and dataset.path can be changed. `vae-jax list` names the metrics.

{WORKDIR}  --on=IMAGES         measures on these instead of the test set: a folder of
                      image files, or an .npz with images or test_images; what
                      is found is kept in on/ in the run folder
  --config.KEY=VALUE  sets one key of the section evaluation
{CACHE}{TRUST}
examples:
  vae-jax evaluate --workdir=runs/mnist --config.evaluation.metrics=nll,latents
  vae-jax evaluate --workdir=runs/mnist --config.evaluation.metrics=nll \\
    --config.evaluation.nll.images=1000
  vae-jax evaluate --workdir=runs/mnist --on=~/digits
""",
    "sweep": f"""\
usage: vae-jax sweep --config=FILE --workdir=FOLDER [FLAGS]

Trains every config that the file's sweep(hyper) gives, in as few programs as
there can be. The same command goes on with a sweep that was stopped.

{CONFIG}{WORKDIR}{SEEDS}  --dry_run           prints programs, lanes and steps, and stops there
  --memory            with --dry_run: compiles them, and prints the memory that
                      they need
{CACHE}{TRUST}
On several workers:

  --launcher=NAME     local: Dask workers of this machine; dask; slurm, pbs, sge
                      or lsf: jobs of that batch scheduler
  --scheduler=ADDRESS the Dask cluster that runs there, or its scheduler's file
  --workers=N         how many
  --partition=NAME    of the batch scheduler
  --minutes=N         most minutes of a job (240)
  --gpus=N            of a job (0)

examples:
  vae-jax sweep --config=sweeps/latent_size --workdir=runs/sizes --dry_run
  vae-jax sweep --config=sweeps/latent_size --workdir=runs/sizes --seeds=3
  vae-jax sweep --config=sweeps/latent_size --workdir=runs/sizes \\
    --launcher=local --workers=4
""",
    "search": f"""\
usage: vae-jax search --config=FILE --workdir=FOLDER [FLAGS]

Trains the configs that the file's sweep(hyper) gives, and stops those that are
behind: by successive halving, or --config.search.name=asha or pbt. The best is
left as a run folder, best/. The same command goes on with a search that was
stopped. A search has one seed.

{CONFIG}{WORKDIR}  --seeds=1           the seed 0; for another --config.training.seeds=3
{CACHE}{TRUST}
examples:
  vae-jax search --config=sweeps/optimization --workdir=runs/optimization
  vae-jax search --config=sweeps/optimization --workdir=runs/pbt \\
    --config.search.name=pbt
""",
    "report": f"""\
usage: vae-jax report --workdir=FOLDER [FLAGS]

Prints and plots the results of a run, sweep or search.

{WORKDIR}  --where=KEY=VALUE   takes only the lanes with that value; may be repeated
  --by=KEY            groups the lanes by that key; may be repeated
{TABLE}  --name=KEY=TEXT     calls a key or column TEXT there; may be repeated
  --caption=TEXT      with --format=latex: a whole table, with that caption
  --label=TEXT        and that label
{INTERVAL}  --html              writes report.html, a page to look at
  --follow            with --html: again every 10 s, until the run is finished
{CACHE}{TRUST}
examples:
  vae-jax report --workdir=runs/sizes --where=objective.beta=1
  vae-jax report --workdir=runs/sizes --html
  vae-jax report --workdir=runs/sizes --format=latex \\
    --name=model.latent_size="Latent units" --caption="MNIST" --label=tab:sizes
""",
    "compare": f"""\
usage: vae-jax compare RUN RUN ... [FLAGS]

Puts several run folders into one table, with the keys in which their configs
differ. Results that are of other data are refused.

  --paired            the first against each other, seed by seed: differences
                      with intervals, and the seeds that they need
{INTERVAL}{TABLE}  --name=KEY=TEXT     calls a key or column TEXT there; may be repeated
  --caption=TEXT      with --format=latex: a whole table, with that caption
  --label=TEXT        and that label

examples:
  vae-jax compare runs/mnist runs/mnist_20d
  vae-jax compare runs/mnist runs/mnist_20d --paired
  vae-jax compare runs/mnist runs/mnist_20d --format=latex --name=run=Model
""",
    "explore": f"""\
usage: vae-jax explore --workdir=FOLDER [FLAGS]

Serves a page: move through the latents, pick test images, draw your own.

{WORKDIR}  --port=N            of the page (5006); 0: any
  --address=NAME      that it listens on (localhost)
{CACHE}{TRUST}
example:
  vae-jax explore --workdir=runs/mnist
""",
    "export": f"""\
usage: vae-jax export --workdir=FOLDER --to=FOLDER [FLAGS]

Writes the best params of one lane as a folder to hand on: its weights, the
functions encode, decode, generate and elbo, and a model card. From Python,
vae_jax.load_exported loads it; without this package, jax and safetensors do.

{WORKDIR}  --to=FOLDER         a new folder
  --lane=N            the number of a lane; best: the best by validation (best)
  --licence=TEXT      what others may do with the model, as the card says it
{CACHE}{TRUST}
examples:
  vae-jax export --workdir=runs/mnist --to=exported
  vae-jax export --workdir=runs/mnist --lane=2 --to=exported \\
    --licence="CC BY 4.0"
""",
    "list": """\
usage: vae-jax list [--write | --config=FILE]

Names all that a config key can choose, each with a line: objectives,
likelihoods, priors, posteriors, networks, metrics, ...

  --write             prints configs/default.py: every key with its meaning
  --config=FILE       also what that config names of the user's own modules

example:
  vae-jax list
""",
    "cache": """\
usage: vae-jax cache [--remove=WHAT]

Says what is kept in the user's cache folder, ~/.cache/vae_jax: compiled
programs, decoded images and what was found of them. All of it can be made
again.

  --remove=WHAT       removes it: programs, images, facts, broken or all

examples:
  vae-jax cache
  vae-jax cache --remove=images
""",
}
