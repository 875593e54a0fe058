"""minissl: self-supervised learning from scratch in NumPy.

We have only x; invent (input, target), then use supervised learning with a neural network; keep the representation.
"""

from minissl.goals import clustering, densities, gan, ica, nce, optimal_noise, probe, score_matching, vae
from minissl.goals.langevin import annealed_langevin, langevin, mala
from minissl.linear import autoregression, cca, eigen, pca, wiener
from minissl.nn import gradcheck, losses, mlp, optimizers, schedules, training
from minissl.nn.checkpoint import load, save
from minissl.nn.embedding import EmbeddingMLP
from minissl.nn.gradcheck import gradient_error
from minissl.nn.losses import sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from minissl.nn.mlp import MLP
from minissl.nn.optimizers import SGD, Adam, lbfgs
from minissl.nn.training import objective, train, train_epochs
from minissl.tasks import augmentations, autoencoder, noise, noncontrastive, prediction, shuffling, time, views, words
from minissl.tasks.autoencoder import colorize, denoise, kl_sparsity, l1, mask, reconstruct
from minissl.tasks.jigsaw import jigsaw, max_hamming_permutations
from minissl.tasks.noise import against_noise, fit_gaussian, isotropic_gaussian
from minissl.tasks.noncontrastive import barlow_twins, vicreg
from minissl.tasks.prediction import next_value
from minissl.tasks.shuffling import against_shuffled, shuffle_patches
from minissl.tasks.time import against_permuted_past, permutation_contrastive, which_segment
from minissl.tasks.views import info_nce, spectral_contrastive, two_views
from minissl.tasks.words import next_word

__version__ = "0.2.0"

# supervised learning
__all__ = ["MLP", "EmbeddingMLP", "train", "train_epochs", "objective", "gradient_error", "save", "load"]
__all__ += ["squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy", "Adam", "SGD", "lbfgs"]
__all__ += ["gradcheck", "losses", "mlp", "optimizers", "schedules", "training"]
# invented pairs: by classification, by reconstruction, by prediction
__all__ += ["against_noise", "fit_gaussian", "isotropic_gaussian", "noise"]
__all__ += ["against_shuffled", "shuffle_patches", "jigsaw", "max_hamming_permutations", "shuffling"]
__all__ += ["which_segment", "against_permuted_past", "permutation_contrastive", "time"]
__all__ += ["two_views", "info_nce", "spectral_contrastive", "vicreg", "barlow_twins"]
__all__ += ["views", "noncontrastive", "augmentations"]
__all__ += ["reconstruct", "denoise", "mask", "colorize", "l1", "kl_sparsity", "autoencoder"]
__all__ += ["next_value", "next_word", "prediction", "words"]
# what a task comes to when the network is linear
__all__ += ["pca", "eigen", "wiener", "autoregression", "cca"]
# what it is for: features, structure, density, sampling
__all__ += ["probe", "ica", "clustering", "densities", "nce", "optimal_noise", "score_matching", "vae"]
__all__ += ["langevin", "mala", "annealed_langevin", "gan"]
