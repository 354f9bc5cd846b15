"""Speakers by a Bayesian hidden Markov model of the windows' embeddings (VBx).

The states are speakers. A speaker's mean is drawn from a normal distribution, and the windows of
the speaker from another around it. Variational Bayes finds which windows are whose, and a speaker
whom the windows do not need loses them all: so the number of speakers is found (Landini, Profant,
Diez and Burget, "Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization:
theory, implementation and analysis on standard tasks", Computer Speech & Language 71, 2022). The
names of the constants are theirs.

Their PLDA needs a training set. Here both distributions are spherical, around the mean of the
recording.
"""

from __future__ import annotations

import numpy as np

WITHIN = 0.5
"""The variance of one speaker's windows around their mean, all dimensions together. A published
CAM++ has 0.3 (clean) to 0.55 (noisy). That of the means of speakers is as large (Phi is 1)."""
FA = 0.1
"""The weight of the windows, which are not independent: they overlap, and sentences are repeated"""
LOOP = 0.9
"""The probability that the next window has the same speaker"""

_ITERATIONS = 20
_UNUSED = 0.1
"""A speaker with so few windows is dropped."""


def vbx_labels(units: np.ndarray, labels: np.ndarray, *, fb: float) -> np.ndarray:
    """The speaker of each window, int64 ``[windows]``, from 0.

    Args:
        units: ``[windows, dimension]``, of length 1, in the order of the recording.
        labels: ``[windows]``, from 0: the clusters to begin with, more than there are speakers.
        fb: the weight of the prior of the means: more finds fewer speakers.
    """
    dimension = units.shape[1]
    scaled = (units - units.mean(axis=0)) * np.sqrt(dimension / WITHIN)  # now each has variance 1
    shares = np.eye(labels.max() + 1)[labels]
    prior = shares.mean(axis=0)
    for _ in range(_ITERATIONS):
        used = shares.sum(axis=0) > _UNUSED
        shares, prior = shares[:, used], prior[used] / prior[used].sum()
        variance = 1 / (1 + FA / fb * shares.sum(axis=0))
        means = FA / fb * variance[:, np.newaxis] * (shares.T @ scaled)
        scores = scaled @ means.T - (dimension * variance + (means**2).sum(axis=1)) / 2
        shares, prior = _occupation(FA * scores, prior)
    found: np.ndarray = np.unique(shares.argmax(axis=1), return_inverse=True)[1]
    return found


def _occupation(scores: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The forward-backward algorithm: the probability of each speaker in each window,
    ``[windows, speakers]``, and the share of turns that each speaker begins, ``[speakers]``.

    Args:
        scores: log-likelihoods ``[windows, speakers]``.
        prior: the probability that a turn is of a speaker, ``[speakers]``.
    """
    likelihoods = np.exp(scores - scores.max(axis=1, keepdims=True))
    forward, backward = np.empty_like(scores), np.ones_like(scores)
    norms = np.empty((len(scores), 1))
    expected = prior
    for window, likelihood in enumerate(likelihoods):
        joint = likelihood * expected
        norms[window] = joint.sum()
        forward[window] = joint / norms[window]
        expected = LOOP * forward[window] + (1 - LOOP) * prior
    for window in range(len(scores) - 1, 0, -1):
        joint = likelihoods[window] * backward[window]
        backward[window - 1] = (LOOP * joint + (1 - LOOP) * (prior @ joint)) / norms[window]
    shares = forward * backward
    shares /= shares.sum(axis=1, keepdims=True)
    later = (likelihoods[1:] * backward[1:] / norms[1:]).sum(axis=0)
    begun = shares[0] + (1 - LOOP) * prior * later
    return shares, begun / begun.sum()
