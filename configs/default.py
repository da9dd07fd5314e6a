"""Every key that exists, with its meaning and unit. Every other config starts from this one.

As it stands it is the VAE most examples use (784-400-20, batch 128) for one seed and 10 epochs;
`configs/mnist_20d.py` is the same over three seeds, with the numbers to expect.

  vae-jax train --config=configs/default.py --workdir=runs/default
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()

    config.dataset = ConfigDict()
    # mnist (in the package), sprites (drawn), tfds, or arrays (your own .npz)
    config.dataset.name = "mnist"
    config.dataset.path = ""  # arrays: the .npz; tfds: its data folder ("" for TFDS's own)
    config.dataset.tfds_name = ""  # tfds: the dataset's name there, such as "fashion_mnist"
    config.dataset.validation_size = 5_000  # images, taken from the end of the training set
    # dynamic: each training pixel drawn anew for every minibatch, on with its grey value's chance,
    # validation and test drawn once. static: all drawn once. threshold: on above one half.
    # none: grey values; a Bernoulli of them is a pseudo-likelihood and is labelled so.
    config.dataset.binarization = "dynamic"
    config.dataset.binarization_seed = 0  # the key of what is drawn once
    config.dataset.num_labels = 0  # m2: training labels that are known, as many a class; 0: all

    config.model = ConfigDict()
    config.model.name = "vae"  # vae, two_layers (of stochastic units) or m2 (semi-supervised)
    config.model.conditional = False  # whether encoder, decoder and prior are given the label
    config.model.latent_size = 20  # dimensions of z
    config.model.encoder = ConfigDict()
    # The network from x to the parameters of q(z | x): mlp gated_mlp residual_mlp conv resnet.
    config.model.encoder.name = "mlp"
    # Hidden units (convolutions: channels, halving height and width), from the image up; (): none.
    config.model.encoder.widths = (400,)
    config.model.encoder.activation = "relu"  # elu gelu leaky_relu relu silu softplus tanh
    config.model.encoder.norm = "none"  # resnet: none or group
    config.model.decoder = ConfigDict()
    config.model.decoder.name = "mlp"  # the network from z to the parameters of p(x | z)
    config.model.decoder.widths = (400,)  # hidden units, from z down; () for none
    config.model.decoder.activation = "relu"  # the same ones
    config.model.decoder.norm = "none"  # the same ones
    config.model.decoder.output_bias_from_data = False  # start at the training set's pixel means
    # p(x | z): bernoulli, continuous_bernoulli, gaussian, gaussian_shared_scale,
    # gaussian_pixel_scale, laplace, beta, categorical, discretized_logistic,
    # discretized_logistic_mixture, poisson, negative_binomial.
    config.model.likelihood = "bernoulli"
    config.model.likelihood_scale = 1.0  # gaussian, laplace: the scale, in units of x
    # p(z): standard_normal, learned_gaussian, mixture, vampprior, realnvp, autoregressive.
    config.model.prior = "standard_normal"
    config.model.prior_components = 10  # mixture: components; vampprior: pseudo-inputs
    # q(z | x): diagonal, full, mixture, inverse_autoregressive, planar.
    config.model.posterior = "diagonal"
    config.model.posterior_components = 4  # mixture
    config.model.flow = ConfigDict()  # of the priors and posteriors that are flows
    config.model.flow.layers = 4  # maps, one after another
    config.model.flow.width = 64  # hidden units of each layer's network; planar has none
    config.model.top = ConfigDict()  # two_layers: the upper one
    config.model.top.latent_size = 10  # its dimensions
    config.model.top.widths = (100,)  # hidden units to it, and from it
    # Bounded, as what it reads is not: under relu a far draw of the lower layer has scales of e^15.
    config.model.top.activation = "tanh"

    config.objective = ConfigDict()
    # The bound on log p(x), in nats: elbo iwae miwae ciwae piwae renyi m2.
    config.objective.name = "elbo"
    config.objective.num_samples = 1  # draws from q(z | x) for each example
    config.objective.beta = 1.0  # weight of the KL; 1 makes the objective the bound itself
    config.objective.warmup_epochs = 0.0  # epochs over which beta rises linearly from 0; 0: none
    config.objective.warmup_cycles = 1  # equal parts of the run, at whose start beta is 0 again
    config.objective.kl = "analytic"  # elbo, m2: the KL in closed form, or sampled
    # reparameterized; elbo: sticking_the_landing; the others: doubly_reparameterized; iwae:
    # wake_wake, wake_sleep (reweighted wake-sleep).
    config.objective.gradient = "reparameterized"
    config.objective.num_groups = 1  # miwae, piwae: groups that the draws are in
    config.objective.alpha = 0.5  # renyi: its order; 0: the IWAE's bound, 1: the ELBO
    config.objective.elbo_weight = 0.5  # ciwae: that of the ELBO beside the IWAE's bound
    config.objective.free_bits = 0.0  # elbo: nats of each group's KL that cost nothing
    config.objective.free_bits_group = 1  # latent units in such a group; 0: all of them
    config.objective.capacity = 0.0  # elbo: nats that the KL is drawn to; 0: as small as can be
    config.objective.capacity_epochs = 0.0  # epochs over which it rises linearly from 0
    # Noise on what the encoder sees, the target being clean: none gaussian masking salt_and_pepper.
    config.objective.corruption = "none"
    config.objective.corruption_amount = 0.0  # gaussian: its scale; the others: chance of a pixel
    # Added to the loss of a minibatch: none, total_correlation_weighted,
    # total_correlation_stratified, total_correlation_adversarial, mmd, dip_i, dip_ii.
    config.objective.regularizer = "none"
    config.objective.regularizer_weight = 0.0  # how many times
    config.objective.diagonal_weight = 1.0  # dip: weight of the variances over that of the rest
    config.objective.classification_weight = 1.0  # m2: of -log q(y | x) of labelled examples
    config.objective.discriminator = ConfigDict()  # of total_correlation_adversarial
    config.objective.discriminator.widths = (256, 256)  # hidden units, leaky ReLU
    config.objective.discriminator.learning_rate = 1e-4  # of its own Adam
    config.objective.discriminator.b1 = 0.5  # decay of its first moment
    config.objective.discriminator.b2 = 0.9  # decay of its second moment

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
    config.training.labelled_per_batch = 0  # m2: examples of a batch drawn from the labelled ones
    # Lanes that a device computes side by side; 0: on a CPU one after the other, elsewhere all.
    config.training.lanes_at_once = 0

    config.evaluation = ConfigDict()
    config.evaluation.every_epochs = 1  # validation and a checkpoint, each so many epochs
    config.evaluation.batch_size = 1_000  # examples at a time; does not change the result
    config.evaluation.num_samples = 1  # draws from q(z | x) for each example's bound
    # Measured of the test set: elbo (always), nll, nll_active, ais, gaps, latents, surgery,
    # probes, disentanglement, samples.
    config.evaluation.metrics = ("elbo",)
    config.evaluation.num_importance_samples = 5_000  # draws for each example's log p(x)
    config.evaluation.draws_at_once = 2_000  # of them side by side; does not change the result
    config.evaluation.ais = ConfigDict()  # annealed importance sampling
    config.evaluation.ais.images = 100  # the first of the test set
    config.evaluation.ais.chains = 16  # for each image
    config.evaluation.ais.temperatures = 1_000  # moves of each chain
    config.evaluation.ais.leapfrog_steps = 10  # gradients of each move
    config.evaluation.gaps = ConfigDict()  # each image's own best q(z | x)
    config.evaluation.gaps.images = 100  # the first of the test set
    config.evaluation.gaps.steps = 500  # of Adam, ten draws each
    config.evaluation.samples = ConfigDict()
    # The .npz of a feature space of another run, for numbers to compare; "": one is trained.
    config.evaluation.samples.features = ""
    # nll, nll_active, ais, gaps: of grey values in a Bernoulli too.
    config.evaluation.allow_pseudo_likelihood = False

    config.sweep = ConfigDict()
    config.sweep.pad_latents = True  # latent sizes are lanes of one program, padded and masked
    config.sweep.max_lanes = 1_000  # the most lanes of one program; fewer where memory asks for it

    config.log = ConfigDict()
    config.log.every_steps = 500  # steps between rows of training metrics; also at an epoch's end
    config.log.keep_checkpoints = 2  # the last few; each also holds every lane's best
    config.log.tensorboard = False  # also write its events (pip install -e '.[tensorboard]')

    return config
