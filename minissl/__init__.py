"""minissl: self-supervised learning from scratch in NumPy.

We have only x; invent (input, target), then use supervised learning with a neural network; keep the representation.
"""

from minissl.checkpoint import load, save
from minissl.gradcheck import gradient_error
from minissl.losses import logistic, softmax, squared_error
from minissl.mlp import MLP
from minissl.optimizers import SGD, Adam, lbfgs
from minissl.training import objective, train

__all__ = ["MLP", "SGD", "Adam", "gradient_error", "lbfgs", "load", "logistic", "objective", "save", "softmax"]
__all__ += ["squared_error", "train"]
