"""What `vae-jax --help` prints."""

HELP = """\
usage: vae-jax VERB FLAGS

  vae-jax train    --config=configs/mnist.py --workdir=runs/mnist [--config.KEY=VALUE ...]
      Trains a VAE from a config file, one lane a seed, and leaves results and figures in the
      run folder. The same command resumes a run that was stopped or killed.
      One run over several machines: the same command on each, as tasks of one SLURM step, or
      with --coordinator=HOST:PORT --num_processes=N --process_id=0 (1, 2, ...).

  vae-jax evaluate --workdir=runs/mnist [--config.evaluation.KEY=VALUE ...]
      Measures each lane's best on the test set: the ELBO, and what
      --config.evaluation.metrics=nll,ais,latents,surgery,disentanglement names.

  vae-jax sweep    --config=configs/sweeps/latent_size.py --workdir=runs/latent_size
      Trains every config that the file's sweep(hyper) gives, in as few programs as there can be.
      The same command goes on with a sweep that was stopped or killed.
      --dry_run                     prints programs, lanes and steps, and stops there; with
                                    --memory, compiles them and prints the memory they need
      --launcher=local --workers=4  on 4 Dask workers of this machine
      --scheduler=ADDRESS           on the Dask cluster that runs there; or its scheduler's file
      --launcher=slurm --workers=4  as 4 jobs (also pbs, sge, lsf) [--partition=NAME ...]

  vae-jax search   --config=configs/sweeps/optimization.py --workdir=runs/optimization
      Trains the same configs, and stops those that are behind: by successive halving, or
      --config.search.name=asha or pbt. The best is left as a run folder, best/.
      The same command goes on with a search that was stopped or killed.

  vae-jax report   --workdir=runs/latent_size [--where KEY=VALUE ...] [--by KEY ...]
      Prints and plots the results of a run or sweep. --where takes only the lanes with that
      value; --by groups them by that key.
      --format=latex                a table for a paper; or csv, markdown, text
      --html [--follow]             writes report.html, a page to look at; --follow: again every
                                    10 s, until the run is finished

  vae-jax compare  RUN RUN [--format=latex]
      Puts several run folders into one table; refuses results that are of other data.

  vae-jax explore  --workdir=runs/mnist [--port=5006]
      Serves a page on localhost: move through the latents, pick test images, draw your own.

  vae-jax list
      Names everything that a config key can choose: objectives, likelihoods, priors, posteriors,
      networks, ...
      --write                       prints configs/default.py, every key with its meaning, instead
      --config=FILE                 also what that config names of the user's own modules

flags:
  --config=FILE       a config file, or the name of one in configs/; configs/default.py explains
                      every key
  --config.KEY=VALUE  overrides one key: --config.model.latent_size=10
                      --config.training.seeds=0,1,2 --config.model.encoder.widths=512,256
  --seeds=5           the seeds 0 to 4, a lane each
  --workdir=FOLDER    the run folder, made if it is not there
  --trust             runs the code that the run folder brings or names, a likelihood of its own for
                      example, though this machine has not run it before: read it first
  --nocache           compiles everything anew, and keeps nothing of it in ~/.cache/vae_jax

exit codes: 0 done; 2 a mistake in the command, config, data or folder; 1 anything else
"""
