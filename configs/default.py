"""Every key that exists, with its meaning and unit. Every other config starts from this one.

As it stands it is the VAE most examples use (784-400-20, batch 128) for one seed and 10 epochs;
`configs/mnist_20d.py` is the same over three seeds, with the numbers to expect.

  vae-jax train --config=configs/default.py --workdir=runs/default

A key that only some choices read says which; set without one of them, it is refused. This file is
written by `vae-jax list --write`, from what the code declares.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()

    config.dataset = ConfigDict()
    # Where the images are from: anndata, arrays, binarized_mnist, caltech101_silhouettes, celeba,
    # cifar10, dsprites, fashion_mnist, frey_faces, hugging_face, mnist, omniglot, shapes3d,
    # sprites, svhn, tfds
    config.dataset.name = "mnist"
    # anndata, arrays, caltech101_silhouettes, celeba, cifar10, dsprites, fashion_mnist, frey_faces,
    # hugging_face, omniglot, shapes3d, svhn, tfds: the .h5ad file; the .npz file, or a folder of
    # image files, or of .npy files; the folder of its files; the folder that save_to_disk wrote;
    # its data folder; "": TFDS's own
    config.dataset.path = ""
    config.dataset.layer = ""  # anndata: the layer that is taken, such as "counts"; "": X
    # anndata, hugging_face: the column of obs that is the label, such as "batch" or "cell_type";
    # "": none; the column that is the label; "": the only one of classes
    config.dataset.labels = ""
    # anndata: columns of obs that a conditional model is given, such as "batch,donor"; (): the
    # label
    config.dataset.covariates = ()
    # arrays, hugging_face, tfds: whether the training images of a folder are all in memory; auto:
    # if they fit: yes, no, auto
    config.dataset.in_memory = "auto"
    # arrays, hugging_face: height, width that image files are cut to; (): as they are
    config.dataset.image_size = ()
    config.dataset.broken = "refuse"  # arrays: an image file that can't be read: refuse, skip
    config.dataset.image_column = ""  # hugging_face: the column of the images; "": the only one
    config.dataset.tfds_name = ""  # tfds: its name there, such as "fashion_mnist"
    # Images, taken from the end of the training set; 0: 5,000, or a tenth of a small set
    config.dataset.validation_size = 0
    # Of grey values; auto: by what the images are: dynamic, static, threshold, none, auto
    config.dataset.binarization = "auto"
    config.dataset.binarization_seed = 0  # the seed of all that is sampled once
    # Changes of the training images, drawn anew for each minibatch; (): none: crop, flip, shift
    config.dataset.augmentation = ()
    config.dataset.crop = 0.8  # crop: the least side of the part
    config.dataset.shift = 2  # shift: the most pixels in each direction
    # Known training labels, equally many of each class; 0: all; for models that infer labels
    config.dataset.num_labels = 0

    config.model = ConfigDict()
    config.model.name = "vae"  # the model: hierarchy, ladder, m2, top_down, two_layers, vae
    config.model.upper = ConfigDict()
    # hierarchy, ladder: dimensions of each layer above the first, from the bottom up
    config.model.upper.latent_sizes = (10,)
    # hierarchy, ladder: hidden units of the networks between two layers, for each layer above the
    # first
    config.model.upper.widths = (100,)
    config.model.upper.depth = 1  # hierarchy, ladder: hidden layers of these networks
    # hierarchy, ladder: their nonlinearity: elu, gelu, leaky_relu, relu, silu, softplus, tanh
    config.model.upper.activation = "tanh"
    # ladder: whether q's downward pass has the networks of p, or its own
    config.model.upper.shared = True
    # m2, vae: p(z): autoregressive, categorical, causal, learned_gaussian, mixture, realnvp,
    # standard_normal, uniform, vampprior
    config.model.prior = "standard_normal"
    config.model.flow = ConfigDict()
    # autoregressive prior, realnvp prior, inverse_autoregressive posterior, planar posterior: maps,
    # one after another
    config.model.flow.layers = 4
    # autoregressive prior, realnvp prior, inverse_autoregressive posterior: hidden units of each
    # map's network
    config.model.flow.width = 64
    config.model.causal = ConfigDict()
    config.model.causal.layers = 2  # causal: blocks of the network
    config.model.causal.width = 64  # causal: of its features
    config.model.prior_components = 10  # mixture, vampprior: components; pseudo-inputs
    # m2, vae: q(z | x): categorical, deterministic, diagonal, fsq, full, implicit,
    # inverse_autoregressive, mixture, planar, vq
    config.model.posterior = "diagonal"
    config.model.categories = 10  # categorical: values of each unit
    config.model.levels = (8, 5, 5, 5)  # fsq: of each number of a unit
    config.model.posterior_noises = 8  # implicit: noise vectors, each of as many numbers as z
    config.model.posterior_width = 64  # implicit: hidden units of each noise vector's network
    config.model.posterior_components = 4  # mixture: components
    config.model.codebook = ConfigDict()
    config.model.codebook.entries = 64  # vq: entries of the book
    config.model.codebook.width = 16  # vq: numbers of each entry
    config.model.codebook.stages = 1  # vq: books, each for what is left
    # vq: weight of the squared distance of encodings from entries
    config.model.codebook.commitment = 0.25
    config.model.codebook.rule = "average"  # vq: how the book is learned: average, gradient
    config.model.codebook.decay = 0.99  # vq: decay of the moving averages
    # vq: an entry used less than this part of an even share starts anew at an encoding; 0: never
    config.model.codebook.restart_below = 0.03
    config.model.blocks = ConfigDict()
    # top_down: blocks with latents on each map, the smallest map first; each map halves the next
    config.model.blocks.numbers = (1, 2, 2)
    config.model.blocks.latents = 4  # top_down: channels of latents in each
    config.model.blocks.width = 32  # top_down: channels of the state
    config.model.blocks.bottleneck = 16  # top_down: channels between a block's first and last
    config.model.blocks.encoder = 1  # top_down: residual blocks on each map, on the way up
    config.model.blocks.stride = 2  # top_down: 2: the largest map is half the image; 1: all of it
    config.model.top = ConfigDict()
    config.model.top.latent_size = 10  # two_layers: dimensions of the upper layer
    config.model.top.widths = (100,)  # two_layers: hidden units between the two layers
    # two_layers: their nonlinearity: elu, gelu, leaky_relu, relu, silu, softplus, tanh
    config.model.top.activation = "tanh"
    # vae: whether encoder, decoder and prior are given the covariates, or else the label
    config.model.conditional = False
    config.model.latent_size = 20  # dimensions of z
    config.model.encoder = ConfigDict()
    # The network from x to the parameters of q(z | x): conv, gated_mlp, grid, mlp, residual_mlp,
    # resnet, spectral_mlp
    config.model.encoder.name = "mlp"
    # Hidden units, or channels of a convolution, from the network's input on; (): none
    config.model.encoder.widths = (400,)
    # conv, grid, mlp, residual_mlp, resnet, spectral_mlp: the nonlinearity: elu, gelu, leaky_relu,
    # relu, silu, softplus, tanh
    config.model.encoder.activation = "relu"
    # grid, resnet: of the features, before each activation of a block: none, group
    config.model.encoder.norm = "none"
    config.model.decoder = ConfigDict()
    # The network from z to the parameters of p(x | z): conv, gated_mlp, grid, mlp, residual_mlp,
    # resnet, spectral_mlp, pixelcnn
    config.model.decoder.name = "mlp"
    # Hidden units, or channels of a convolution, from the network's input on; (): none
    config.model.decoder.widths = (400,)
    # conv, grid, mlp, residual_mlp, resnet, spectral_mlp, pixelcnn: the nonlinearity: elu, gelu,
    # leaky_relu, relu, silu, softplus, tanh
    config.model.decoder.activation = "relu"
    # grid, resnet: of the features, before each activation of a block: none, group
    config.model.decoder.norm = "none"
    config.model.decoder.layers = 3  # pixelcnn: masked layers
    # pixelcnn: features of a pixel, in each stack and in z's map
    config.model.decoder.features = 16
    config.model.decoder.kernel_size = 5  # pixelcnn: rows and columns of a kernel, unmasked
    # How the encoder sees x; auto: by what the images are: log1p, raw, standardized, auto
    config.model.encoder.inputs = "auto"
    # Start it at the training set's pixel means; always so of real numbers and levels
    config.model.decoder.output_bias_from_data = False
    # p(x | z); auto: by what the images are: bernoulli, beta, categorical, continuous_bernoulli,
    # discretized_logistic, discretized_logistic_mixture, gaussian, gaussian_optimal_scale,
    # gaussian_pixel_scale, gaussian_shared_scale, laplace, negative_binomial, poisson, auto
    config.model.likelihood = "auto"
    config.model.likelihood_scale = 1.0  # gaussian, laplace: the scale, in units of x
    # negative_binomial, poisson: what the means are multiplied by: learned, none, total
    config.model.likelihood_size_factor = "none"
    # negative_binomial, poisson: whether some zeros are no counts, with a probability by the
    # decoder
    config.model.likelihood_zero_inflated = False
    # negative_binomial: what r is of: class, example, variable
    config.model.likelihood_dispersion = "example"

    config.objective = ConfigDict()
    # The bound on log p(x), in nats: elbo, ciwae, iwae, miwae, piwae, renyi, aae, avb, m2, rae,
    # vae_gan, wae_gan
    config.objective.name = "elbo"
    config.objective.kl = "analytic"  # elbo, m2: how the KL is computed: analytic, sampled
    # elbo, ciwae, iwae, miwae, piwae, renyi: the gradient estimator: reparameterized,
    # sticking_the_landing, disarm, exact, leave_one_out, relaxed, straight_through,
    # doubly_reparameterized, wake_sleep, wake_wake
    config.objective.gradient = "reparameterized"
    config.objective.free_bits = 0.0  # elbo: nats of each group's KL that cost nothing
    config.objective.free_bits_group = 1  # elbo: latent units in such a group; 0: all of them
    config.objective.capacity = 0.0  # elbo: nats, the target of the KL; 0: the KL is minimised
    config.objective.capacity_epochs = 0.0  # elbo: epochs over which it rises linearly from 0
    config.objective.temperature = 0.5  # elbo: of relaxed samples, at the end
    config.objective.temperature_start = 1.0  # elbo: of relaxed samples, at the first step
    # elbo: epochs over which it falls exponentially to that at the end; 0: it is that throughout
    config.objective.temperature_epochs = 0.0
    # elbo: nats of each layer's KL that cost nothing, the top first; (): 0
    config.objective.layer_free_bits = ()
    # elbo: weight of each layer's KL, times beta, the top first; (): 1
    config.objective.layer_beta = ()
    # elbo: epochs over which that weight rises linearly from 0; (): 0
    config.objective.layer_warmup_epochs = ()
    config.objective.elbo_weight = 0.5  # ciwae: weight of the ELBO; the IWAE bound has the rest
    config.objective.num_groups = 1  # miwae, piwae: groups into which the samples are split
    config.objective.alpha = 0.5  # renyi: its order; 0: the IWAE bound, 1: the ELBO
    config.objective.critic = ConfigDict()
    # aae, avb, vae_gan, wae_gan: hidden units of the critic, with leaky ReLU
    config.objective.critic.widths = (256, 256)
    config.objective.critic.learning_rate = 2e-4  # aae, avb, vae_gan, wae_gan: of the critic's Adam
    config.objective.critic.b1 = 0.5  # aae, avb, vae_gan, wae_gan: decay of its first moment
    config.objective.critic.b2 = 0.999  # aae, avb, vae_gan, wae_gan: decay of its second moment
    config.objective.critic.times = 1  # aae, avb, vae_gan, wae_gan: moves of the critic in a step
    config.objective.generator = ConfigDict()
    # aae: of the encoder's Adam as it fools the critic
    config.objective.generator.learning_rate = 3e-4
    # avb: whether the critic compares q(z | x) with a Gaussian of its moments, not p(z)
    config.objective.adaptive_contrast = True
    config.objective.classification_weight = 1.0  # m2: weight of -log q(y | x) of labelled examples
    config.objective.penalty = "none"  # rae: what is added of the decoder: none, gradient, l2
    config.objective.penalty_weight = 1.0  # rae, wae_gan: its weight
    config.objective.gamma = 1.0  # vae_gan: weight of the features' error in the decoder's loss
    config.objective.num_samples = 1  # samples of q(z | x) for each example
    config.objective.beta = 1.0  # weight of the KL; 1 makes the objective the bound itself
    config.objective.warmup_epochs = 0.0  # epochs over which beta rises linearly from 0; 0: none
    config.objective.warmup_cycles = 1  # equal parts of the run; beta restarts from 0 in each
    # Noise on the encoder's input; the likelihood is of the clean x: none, gaussian, masking,
    # salt_and_pepper
    config.objective.corruption = "none"
    # gaussian, masking, salt_and_pepper: scale of the noise; probability that a pixel is replaced
    config.objective.corruption_amount = 0.0
    # Term added to the loss of a minibatch: none, dip_i, dip_ii, mmd,
    # total_correlation_adversarial, total_correlation_stratified, total_correlation_weighted
    config.objective.regularizer = "none"
    # dip_i, dip_ii, mmd, total_correlation_adversarial, total_correlation_stratified,
    # total_correlation_weighted: weight of the regulariser in the loss
    config.objective.regularizer_weight = 0.0
    # dip_i, dip_ii: weight of the variances relative to the covariances
    config.objective.diagonal_weight = 1.0
    config.objective.discriminator = ConfigDict()
    # total_correlation_adversarial: hidden units, with leaky ReLU
    config.objective.discriminator.widths = (256, 256)
    # total_correlation_adversarial: of the discriminator's Adam
    config.objective.discriminator.learning_rate = 1e-4
    # total_correlation_adversarial: decay of its Adam's first moment
    config.objective.discriminator.b1 = 0.5
    # total_correlation_adversarial: decay of its Adam's second moment
    config.objective.discriminator.b2 = 0.9

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # the optimiser of the model: adam, adamax, adamw, rmsprop, sgd
    config.optimizer.b1 = 0.9  # adam, adamax, adamw: decay of the first moment
    config.optimizer.b2 = 0.999  # adam, adamax, adamw, rmsprop: decay of the second moment
    # adam, adamax, adamw, rmsprop: added to the denominator; of rmsprop: added inside the root
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 0.0  # adamw: decoupled from the gradient
    config.optimizer.momentum = 0.0  # sgd: the momentum coefficient
    config.optimizer.learning_rate = 1e-3  # step size, before the schedule
    config.optimizer.max_grad_norm = 0.0  # gradients are scaled down to this global norm; 0: never
    # Updates whose gradients have a greater global norm, before clipping, are skipped; 0: none
    config.optimizer.skip_above = 0.0
    config.optimizer.schedule = ConfigDict()
    config.optimizer.schedule.name = "constant"  # of the learning rate: constant, cosine, stepwise
    config.optimizer.schedule.final_fraction = 0.0  # cosine: final fraction of the learning rate
    config.optimizer.schedule.boundaries = ()  # stepwise: epochs at which the learning rate falls
    config.optimizer.schedule.decay_factor = 0.1  # stepwise: factor on it at each boundary

    config.training = ConfigDict()
    config.training.num_epochs = 10  # passes over the training set
    # Examples, or all where there are fewer; an epoch leaves out an incomplete last batch
    config.training.batch_size = 128
    config.training.seeds = (0,)  # each is a lane: a separate run in the same compiled program
    config.training.init_seed = -1  # of the initial params; -1: the seed of the lane
    config.training.order_seed = -1  # of the order of the training images; -1: the seed of the lane
    # Of all else that training samples: z, binarisation, augmentations; -1: that of the lane
    config.training.noise_seed = -1
    config.training.keep = "best"  # which epoch's params are evaluated: best, last
    # The run ends after as many epochs in which no lane improved on validation; 0: never
    config.training.patience = 0
    config.training.data_devices = 1  # devices that share each batch; the others take other lanes
    # Examples per batch picked from the labelled ones; for a model that infers labels
    config.training.labelled_per_batch = 0
    # Decay of a moving average of the params, which is evaluated in their place; 0: none
    config.training.ema_decay = 0.0
    # a finished run, with whose best params the lane of each seed starts; "": none
    config.training.start_from = ""
    config.training.trained = ()  # parts of the params that are trained, such as 'prior'; (): all
    # Of the networks in training; all is measured in that of the device: device, float32,
    # tensorfloat32, bfloat16
    config.training.precision = "device"
    config.training.accumulate = 1  # parts of a batch, one after the other: memory is that of one
    # Lanes that a device computes at once; 0: one on a CPU, all on other devices
    config.training.lanes_at_once = 0

    config.evaluation = ConfigDict()
    config.evaluation.every_epochs = 1  # epochs between two validations, each with a checkpoint
    config.evaluation.batch_size = 1_000  # examples at a time; does not change the result
    # Samples of q(z | x) for each example's bound; 0: objective.num_samples
    config.evaluation.num_samples = 0
    # What is measured of the test set: elbo, nll, nll_active, ais, gaps, surgery, codes, codebook,
    # latents, probes, disentanglement, samples
    config.evaluation.metrics = ("elbo",)
    # nll, nll_active, ais, gaps: samples for each example's log p(x)
    config.evaluation.num_importance_samples = 5_000
    # nll, nll_active, ais, gaps: samples computed at once; does not change the result
    config.evaluation.draws_at_once = 2_000
    config.evaluation.nll = ConfigDict()
    config.evaluation.nll.images = 0  # nll, nll_active: of the test set, the first; 0: all
    config.evaluation.ais = ConfigDict()
    config.evaluation.ais.images = 100  # ais: of the test set, the first
    config.evaluation.ais.chains = 16  # ais: for each image
    config.evaluation.ais.temperatures = 1_000  # ais: moves of each chain
    config.evaluation.ais.leapfrog_steps = 10  # ais: gradients of each move
    config.evaluation.gaps = ConfigDict()
    config.evaluation.gaps.images = 100  # gaps: of the test set, the first
    config.evaluation.gaps.steps = 500  # gaps: steps of Adam, with ten samples each
    config.evaluation.samples = ConfigDict()
    # samples: the features.npz of another run, to make scores comparable; "": trains a feature
    # space
    config.evaluation.samples.features = ""
    # samples: which z are decoded: those of the prior, or of what is fitted to the codes
    # afterwards: prior, gaussian, mixture, flow, two_stage
    config.evaluation.samplers = ("prior",)
    config.evaluation.mixture = ConfigDict()
    config.evaluation.mixture.components = 10  # samples: components of the mixture
    config.evaluation.sampler_steps = 5_000  # samples: steps of the fit of flow and two_stage
    # samples: hidden units of the networks of flow and two_stage
    config.evaluation.sampler_width = 128
    # Whether log p(x) may be measured of grey values in a Bernoulli
    config.evaluation.allow_pseudo_likelihood = False

    config.sweep = ConfigDict()
    config.sweep.pad_latents = True  # lanes of different latent sizes share a program, padded
    config.sweep.max_lanes = 1_000  # most lanes in one program; fewer if memory is short

    config.search = ConfigDict()
    config.search.name = "halving"  # which trials of `vae-jax search` go on: halving, asha, pbt
    config.search.first_epochs = 1  # halving, asha: epochs before the first are stopped
    # halving, asha: r: the best 1/r of the trials go on, to r times the epochs
    config.search.reduction = 3
    config.search.every_epochs = 1  # pbt: epochs between two rounds of copies
    # pbt: of the trials: the worst are replaced by copies of as many of the best
    config.search.fraction = 0.2
    config.search.factor = 1.2  # pbt: a copy's numbers are multiplied or divided by it
    config.search.places = 16  # trials trained at once, in one compiled program

    config.log = ConfigDict()
    config.log.every_steps = 500  # steps between rows of training metrics; also at an epoch's end
    config.log.keep_checkpoints = 2  # newest checkpoints to keep; each holds every lane's best
    # What is drawn; (): all that fit: training_curves, kl_by_layer, reconstructions, samples,
    # first_layers, temperatures, latent_space, manifold, traversals, interpolations,
    # aggregate_posterior, rate_distortion, likelihood, hardest, samplers, latent_units, values,
    # codebook
    config.log.figures = ()
    config.log.figure_format = ("png",)  # of the files of figures, one or several: png, pdf, svg
    config.log.figure_dpi = 110  # pixels of an inch of a figure's images
    config.log.html = False  # also write the report page (pip install bokeh jinja2)
    config.log.tensorboard = False  # also write event files (pip install tensorboardX)
    config.log.wandb = False  # also log to Weights & Biases (pip install wandb)

    return config
