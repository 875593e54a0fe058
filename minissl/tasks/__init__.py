"""Invent (input, target) from x alone: pretext tasks.

The lecture: unlabelled data are cheap and labels are not, so we invent a problem whose targets can be computed from the
data. Three families:

* classification: tell the data from something that is not quite the data (noise, shuffling, jigsaw, time, views);
* reconstruction: give back x, through something that makes it hard (autoencoder);
* prediction of the future: the next value, the next word (prediction, words).

A task is a function (x, rng) -> (input, target) or (input, target, weight). It knows of no network.
"""
