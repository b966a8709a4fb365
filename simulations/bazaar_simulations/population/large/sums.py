"""Sums of what belongs to the same key."""

import numpy as np

from bazaar_simulations.adversaries.adversary import Floats, Ints


def summed(keys: Ints, *values: Floats) -> tuple[Ints, tuple[Floats, ...]]:
    """Return the different keys in order, and for each of ``values`` the sums by key."""
    if not len(keys):
        return keys, values
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sums = tuple(np.add.reduceat(one[order], starts) for one in values)
    return ordered[starts], sums


def looked_up(keys: Ints, asked: Ints) -> tuple[Ints, np.ndarray]:
    """Return where ``asked`` stand among ``keys``, which are in order, and which are there."""
    if not len(keys):
        return np.zeros(asked.shape, np.int64), np.zeros(asked.shape, bool)
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return places, keys[places] == asked
