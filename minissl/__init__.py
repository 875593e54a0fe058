"""minissl: self-supervised learning from scratch in NumPy.

We have only x; invent (input, target), then use supervised learning with a neural network; keep the representation.
"""

from minissl import (
    autoencoder,
    autoregression,
    contrastive,
    densities,
    downstream,
    nce,
    patches,
    pca,
    sampling,
    wiener,
    words,
)
from minissl.autoencoder import denoise, greyscale, identity, kl_sparsity, l1, mask
from minissl.autoregression import next_value
from minissl.checkpoint import load, save
from minissl.contrastive import against_noise, against_shuffled
from minissl.gradcheck import gradient_error
from minissl.losses import logistic, softmax, squared_error
from minissl.mlp import MLP
from minissl.optimizers import SGD, Adam, lbfgs
from minissl.patches import jigsaw
from minissl.training import objective, train
from minissl.words import next_word

__all__ = ["MLP", "train", "objective", "gradient_error", "save", "load"]
__all__ += ["identity", "denoise", "mask", "greyscale", "against_noise", "against_shuffled", "jigsaw"]  # pretext tasks
__all__ += ["next_value", "next_word"]
__all__ += ["squared_error", "logistic", "softmax", "l1", "kl_sparsity"]  # losses, penalties
__all__ += ["Adam", "SGD", "lbfgs"]
__all__ += ["autoencoder", "autoregression", "contrastive", "densities", "downstream", "nce", "patches", "pca"]
__all__ += ["sampling", "wiener", "words"]
