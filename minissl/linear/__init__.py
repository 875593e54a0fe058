"""What a task comes to when the network is linear: closed forms.

The lecture: a linear autoencoder is principal component analysis. Other tasks likewise: the linear denoiser is Wiener's
filter, linear prediction is the autoregressive model, two linear views are canonical correlation analysis. Each can be
solved by linear algebra, without training, which is how tasks/ and the training in nn/ are checked.
"""
