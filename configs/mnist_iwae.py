"""The importance weighted autoencoder of Burda, Grosse and Salakhutdinov 2015, one layer, k = 50.

784-200-200-50, tanh, 3,280 epochs in eight stages: the paper's recipe, but for the initial weights
(LeCun's here, Glorot's there). `mnist_iwae_short.py` trains the same model in four minutes.

  vae-jax train --config=configs/mnist_iwae.py --workdir=runs/mnist_iwae

Time: not run to its end here: about 28 hours on two cores (10 ms a step).
Expect: the paper has -log p(x) = 84.78 nats by 5,000 samples (k = 5: 85.54; a VAE, k = 1: 86.76).
"""

from ml_collections import ConfigDict

from configs import default

STAGES = 8


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.validation_size = 400
    config.model.latent_size = 50
    config.model.encoder.widths = (200, 200)
    config.model.encoder.activation = "tanh"
    config.model.decoder.widths = (200, 200)
    config.model.decoder.activation = "tanh"
    config.model.decoder.output_bias_from_data = True
    config.objective.name = "iwae"
    config.objective.num_samples = 50
    config.optimizer.learning_rate = 1e-3
    config.optimizer.eps = 1e-4
    config.optimizer.schedule.name = "stepwise"
    # Stage i has 3^i epochs at 1e-3 * 10^(-i / 7).
    ends = [sum(3**i for i in range(stage + 1)) for stage in range(STAGES)]
    config.optimizer.schedule.boundaries = tuple(float(end) for end in ends[:-1])
    config.optimizer.schedule.decay_factor = 10 ** (-1 / (STAGES - 1))
    config.training.batch_size = 20
    config.training.num_epochs = ends[-1]
    config.training.seeds = (0,)
    config.evaluation.every_epochs = 20
    config.evaluation.batch_size = 100
    config.evaluation.num_samples = 50
    return config
