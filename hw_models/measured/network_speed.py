"""Speed of blocks inside whole networks relative to single blocks, learned from a few timed networks.

    T = sum over blocks of t / share + call          share = all · of the kind · of those with a PReLU

A block that is timed by itself finds its data in other places than in a network, and converts layouts at
other ends: encoders of equal units run faster than the sum of their blocks, decoders slower. The shares
are fitted to whole networks with priors about 1. How far they are off for a network that was not measured
comes from leaving each network out.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hw_models.least_squares import map_fit
from hw_models.measured.blocks import KINDS, Block
from hw_models.schema import SHARES, Fit
from zoo.graph import PReLU

Array = NDArray[np.float64]

KIND_AT, PRELU = 1, SHARES.index("prelu")
"""Places in SHARES: of the first kind, and of the PReLU."""
LEAST_SD = 0.02
"""Least log error that is claimed for a network that was not measured."""
FEWEST = 3
"""Networks from which that error is measured."""


class Whole(NamedTuple):
    """A network that was timed as a whole.

    blocks_s: seconds of its blocks timed by themselves, shape (len(KINDS), 2), without and with a PReLU.
    """

    blocks_s: Array
    seconds: float
    relative_sd: float


def has_prelu(block: Block) -> bool:
    """Whether the block computes a PReLU."""
    return any(isinstance(layer.op, PReLU) for layer in block.body)


def share_of(theta: Array, block: Block) -> float:
    """Share of its speed that the block reaches in a network."""
    logs = theta[0] + theta[KIND_AT + KINDS.index(block.kind)] + (theta[PRELU] if has_prelu(block) else 0.0)
    return float(np.exp(logs))


def gradient_of(block: Block, seconds: float) -> Array:
    """Derivatives of minus the block's time in a network by the logarithms of SHARES, in s."""
    out = np.zeros(len(SHARES))
    out[[0, KIND_AT + KINDS.index(block.kind)]] = seconds
    out[PRELU] = seconds if has_prelu(block) else 0.0
    return out


def fitted(before: Fit, networks: Sequence[Whole], call_s: float) -> Fit:
    """The shares under which the networks take the times measured, from the priors of `before`."""
    if not networks:
        return replace(before, theta=before.prior, covariance=np.diag(before.prior_sd**2))
    blocks_s = np.array([network.blocks_s for network in networks])

    def model(theta: Array) -> tuple[Array, Array]:
        return _times(theta, blocks_s, call_s)

    observed = np.log([network.seconds for network in networks])
    variance = np.array([network.relative_sd**2 + before.network_sd**2 for network in networks])
    theta, covariance = map_fit(model, observed, variance, before.prior, np.diag(before.prior_sd**2))
    return replace(before, theta=theta, covariance=covariance)


def _times(theta: Array, blocks_s: Array, call_s: float) -> tuple[Array, Array]:
    """Logarithms of networks' times, and their derivatives by the logarithms of SHARES."""
    logs = theta[0] + theta[KIND_AT:PRELU, None] + np.array([0.0, theta[PRELU]])
    inside = blocks_s * np.exp(-logs)
    total = inside.sum(axis=(1, 2)) + call_s
    slopes = np.empty((len(inside), len(SHARES)))
    slopes[:, 0] = inside.sum(axis=(1, 2))
    slopes[:, KIND_AT:PRELU] = inside.sum(axis=2)
    slopes[:, PRELU] = inside[:, :, 1].sum(axis=1)
    return np.log(total), -slopes / total[:, None]


def left_out(before: Fit, networks: Sequence[Whole], call_s: float) -> Array:
    """Log errors of networks, each predicted from the others."""
    errors = []
    for i, network in enumerate(networks):
        blind = fitted(before, [other for j, other in enumerate(networks) if j != i], call_s)
        guess = _times(blind.theta, network.blocks_s[None], call_s)[0][0]
        errors.append(float(np.log(network.seconds) - guess))
    return np.array(errors)


def learned(before: Fit, networks: Sequence[Whole], call_s: float) -> tuple[Fit, Array]:
    """The fit with the error of a network that was not measured, and the log errors of those left out.

    Of few networks the spread is itself uncertain: it is widened as Student's t is beside the normal distribution.
    """
    if len(networks) < FEWEST:
        return fitted(before, networks, call_s), np.zeros(0)
    fit, errors = before, np.zeros(0)
    for _ in range(2):
        # Once to learn how far networks are off, once more to weigh them by it.
        errors = left_out(fit, networks, call_s)
        wider = 1.0 + 0.9 / len(errors)
        fit = replace(fit, network_sd=max(wider * float(np.sqrt(np.mean(errors**2))), LEAST_SD))
    return fitted(fit, networks, call_s), errors
