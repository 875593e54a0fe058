"""minissl: self-supervised learning from scratch in NumPy.

We have only x; invent (input, target), then use supervised learning with a neural network; keep the representation.
"""
