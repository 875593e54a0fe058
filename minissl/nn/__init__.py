"""Supervised learning, by hand.

The lecture takes for granted that a neural network can learn a function from pairs (input, target). Here it is written
out: losses and their gradients, the network forward and backward, how to check a gradient, how to take steps, the loop.
All of self-supervised learning above this room only invents the pairs.
"""
