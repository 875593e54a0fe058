"""Judges of generated samples, for the demos: is it the same distribution, and is it copied?"""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import SVC


def mmd(a, b):
    """Squared maximum mean discrepancy, without bias; Gaussian kernel as wide as the median distance within b."""
    squares = [cdist(u, v, "sqeuclidean") for u, v in ((a, a), (b, b), (a, b))]
    width = np.median(squares[1])
    K_a, K_b, K_ab = (np.exp(-s / width) for s in squares)
    N, M = len(a), len(b)
    return (K_a.sum() - N) / (N * (N - 1)) + (K_b.sum() - M) / (M * (M - 1)) - 2 * K_ab.mean()


def told_apart(a, b, folds=5):
    """Accuracy of a classifier (support vectors, cross-validated) that tells a from b; 1/2 where it cannot."""
    labels = np.repeat([0, 1], [len(a), len(b)])
    folds = StratifiedKFold(folds, shuffle=True, random_state=0)  # a mixture's samples come in order of its components
    return cross_val_score(SVC(C=10), np.concatenate([a, b]), labels, cv=folds).mean()


def copies(samples, train, low=0.05):
    """Share of each set of samples that is nearer to a training sample than all but `low` of these are to another one.

    New samples of the same distribution have the share `low`, whatever the number of copies among others.
    """
    own = cdist(train, train, "sqeuclidean")
    np.fill_diagonal(own, np.inf)
    near = np.quantile(own.min(axis=1), low)
    return {name: float((cdist(x, train, "sqeuclidean").min(axis=1) < near).mean()) for name, x in samples.items()}
