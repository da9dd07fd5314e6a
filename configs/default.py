"""Every key that exists, with its meaning and unit. Every other config starts from this one.

As it stands it is the VAE most examples use (784-400-20, batch 128) for one seed and 10 epochs;
`configs/mnist_20d.py` is the same over three seeds, with the numbers to expect.

  vae-jax train --config=configs/default.py --workdir=runs/default
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()

    config.dataset = ConfigDict()
    config.dataset.name = "mnist"  # mnist (in the package), tfds, or arrays (your own .npz)
    config.dataset.path = ""  # arrays: the .npz; tfds: its data folder ("" for TFDS's own)
    config.dataset.tfds_name = ""  # tfds: the dataset's name there, such as "fashion_mnist"
    config.dataset.validation_size = 5_000  # images, taken from the end of the training set
    # dynamic: each training pixel drawn anew for every minibatch, on with its grey value's chance,
    # validation and test drawn once. static: all drawn once. threshold: on above one half.
    # none: grey values; a Bernoulli of them is a pseudo-likelihood and is labelled so.
    config.dataset.binarization = "dynamic"
    config.dataset.binarization_seed = 0  # the key of what is drawn once

    config.model = ConfigDict()
    config.model.latent_size = 20  # dimensions of z
    config.model.encoder = ConfigDict()
    config.model.encoder.name = "mlp"  # the network from x to the parameters of q(z | x)
    config.model.encoder.widths = (400,)  # hidden units, from the image up; () for none
    config.model.encoder.activation = "relu"  # elu gelu leaky_relu relu silu softplus tanh
    config.model.decoder = ConfigDict()
    config.model.decoder.name = "mlp"  # the network from z to the parameters of p(x | z)
    config.model.decoder.widths = (400,)  # hidden units, from z down; () for none
    config.model.decoder.activation = "relu"  # the same ones
    config.model.decoder.output_bias_from_data = False  # start at the training set's pixel means
    config.model.likelihood = "bernoulli"  # p(x | z)
    config.model.prior = "standard_normal"  # p(z)
    config.model.posterior = "diagonal"  # q(z | x): a Gaussian, independent by dimension

    config.objective = ConfigDict()
    config.objective.name = "elbo"  # the bound on log p(x), in nats, with the KL in closed form
    config.objective.num_samples = 1  # draws from q(z | x) for each example
    config.objective.beta = 1.0  # weight of the KL; 1 makes the objective the ELBO
    config.objective.warmup_epochs = 0.0  # epochs over which beta rises linearly from 0; 0: none

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # adam adamax adamw rmsprop sgd
    config.optimizer.learning_rate = 1e-3  # of each step, before the schedule
    config.optimizer.b1 = 0.9  # adam, adamax, adamw: decay of the first moment
    config.optimizer.b2 = 0.999  # adam, adamax, adamw, rmsprop: decay of the second moment
    config.optimizer.eps = 1e-8  # adam, adamax, adamw, rmsprop: added to the denominator
    config.optimizer.momentum = 0.0  # sgd
    config.optimizer.weight_decay = 0.0  # adamw: decoupled
    config.optimizer.max_grad_norm = 0.0  # gradients are scaled down to this global norm; 0: never
    config.optimizer.schedule = ConfigDict()
    config.optimizer.schedule.name = "constant"  # constant, cosine or stepwise
    config.optimizer.schedule.final_fraction = 0.0  # cosine: of the learning rate, at the end
    config.optimizer.schedule.boundaries = ()  # stepwise: epochs at which the learning rate falls
    config.optimizer.schedule.decay_factor = 0.1  # stepwise: what it is multiplied by there

    config.training = ConfigDict()
    config.training.num_epochs = 10  # passes over the training set
    config.training.batch_size = 128  # examples; an epoch leaves out what does not fill a batch
    config.training.seeds = (0,)  # each is a lane: a run of its own in the one compiled program
    config.training.data_devices = 1  # devices that share each batch; the others take other lanes

    config.evaluation = ConfigDict()
    config.evaluation.every_epochs = 1  # validation and a checkpoint, each so many epochs
    config.evaluation.batch_size = 1_000  # examples at a time; does not change the result
    config.evaluation.num_samples = 1  # draws from q(z | x) for each example's ELBO

    config.sweep = ConfigDict()
    config.sweep.pad_latents = True  # latent sizes are lanes of one program, padded and masked
    config.sweep.max_lanes = 1_000  # the most lanes of one program; fewer where memory asks for it

    config.log = ConfigDict()
    config.log.every_steps = 500  # steps between rows of training metrics; also at an epoch's end
    config.log.keep_checkpoints = 2  # the last few; each also holds every lane's best
    config.log.tensorboard = False  # also write its events (pip install -e '.[tensorboard]')

    return config
