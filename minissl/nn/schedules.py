"""Schedules: how the learning rate falls while the network learns.

    symbol   in code   meaning                                                number
    u        share     share of the training that is done                     0 … 1
    α        -         learning rate of the optimizer                         number > 0
    f(u)               factor: the step at share u is taken with α f(u)       0 … 1

Stochastic gradients are noisy. With a constant step the parameters end up jumping around the minimum, at a distance
that grows with α; with a step that falls to zero they settle. A schedule is a function of u, so that it does not have
to know how many steps there are; any function will do.

    [schedules.1]   constant: f(u) = 1;    linear: f(u) = 1 − u;    cosine: f(u) = ½ (1 + cos πu)

The cosine stays near 1 at first and near 0 at the end.

>>> print([round(f(0.25), 3) for f in (constant, linear, cosine)])
[1.0, 0.75, 0.854]

Sources: Robbins & Monro, Annals of Mathematical Statistics 22 (1951), for steps that fall; Loshchilov & Hutter, ICLR
(2017), equation 5, for the cosine.
"""

import math


def constant(share: float) -> float:
    """1 [schedules.1]."""
    return 1.0


def linear(share: float) -> float:
    """1 − u [schedules.1]."""
    return 1.0 - share


def cosine(share: float) -> float:
    """½ (1 + cos πu) [schedules.1]."""
    return 0.5 * (1.0 + math.cos(math.pi * share))
