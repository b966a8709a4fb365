"""The walks of some egos over what everybody says, by forward push for all of them at once.

``bazaar_reputation.walk`` and ``credibility`` in sparse arrays: the same formulas, and the same
bound below which a walk is not followed. The order differs: there, first come, first served; here,
all that wait are pushed together. Both return at most the true share.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bazaar_reputation.credibility import CREDIBILITY_LEAST, SEED_EDGE
from bazaar_reputation.scores import FULL_WEIGHT
from bazaar_reputation.walk import EPSILON, RESTART
from bazaar_simulations.adversaries.adversary import Floats, Ints
from bazaar_simulations.population.large.opinions import EMPTY, Rows
from bazaar_simulations.population.large.sums import summed
from bazaar_simulations.population.large.talk import Talk

_BAD_COUNTS: Final = 2.0
_HALF_NET: Final = 8.0
_HEARD_LEAST: Final = 0.3
_BLOCK_CELLS: Final = 8_000_000


@dataclass(frozen=True, slots=True)
class Voices:
    """Whose word counts with which ego, and how much; ego's own with 1."""

    owners: Ints
    """Whose voices they are: egos by their place, from 0."""
    agents: Ints
    weights: Floats


class Walks:
    """Follows the walks of egos.

    Args:
        talk: What everybody says.
        seeds: Whom everybody's owner has named.
        epsilon: How exactly; what per neighbour is too little to follow.
        deaf_below: Who weighs less than that is not listened to.

    """

    def __init__(
        self, talk: Talk, seeds: Ints, *, epsilon: float = EPSILON, deaf_below: float = 0.0
    ) -> None:
        self._talk = talk
        self._seeds = seeds
        self._epsilon = epsilon
        self._deaf_below = deaf_below

    def voices(self, egos: Ints) -> Voices:
        """Return whose word counts with each of ``egos``."""
        size = self._talk.size
        keys, shares = self._ends(egos)
        owners, agents = np.divmod(keys, size)
        weights = np.minimum(1.0, FULL_WEIGHT * shares)
        is_heard = (agents != egos[owners]) & (weights > 0) & (weights >= self._deaf_below)
        owners, agents, weights = owners[is_heard], agents[is_heard], weights[is_heard]
        signs = _Signs(self._talk.rows("worker", egos))
        others = _Signs(self._talk.rows("worker", agents))
        is_believed = _credibility(signs, owners, others, size) > 0
        own = np.arange(len(egos))
        return Voices(
            np.concatenate((own, owners[is_believed])),
            np.concatenate((egos, agents[is_believed])),
            np.concatenate((np.ones(len(egos)), weights[is_believed])),
        )

    def _ends(self, egos: Ints) -> tuple[Ints, Floats]:
        size = self._talk.size
        active, waiting = np.arange(len(egos)) * size + egos, np.ones(len(egos))
        rest, unsettled = np.zeros(0, np.int64), np.zeros(0)
        ended: list[tuple[Ints, Floats]] = []
        while len(active):
            ended.append((active, RESTART * waiting))
            keys, there = self._step(egos, active, (1.0 - RESTART) * waiting)
            keys, (there,) = summed(np.append(rest, keys), np.append(unsettled, there))
            breadth = self._talk.breadth(keys % size)
            goes_on = (there > self._epsilon) & (there > self._epsilon * breadth)
            active, waiting = keys[goes_on], there[goes_on]
            rest, unsettled = keys[~goes_on], there[~goes_on]
        # What was too broad to follow further ends there by this share, whatever comes after.
        stays = unsettled > self._epsilon
        ended.append((rest[stays], RESTART * unsettled[stays]))
        every, shares = (np.concatenate(part) for part in zip(*ended, strict=True))
        keys, (shares,) = summed(every, shares)
        return keys, shares

    def _step(self, egos: Ints, at: Ints, shares: Floats) -> tuple[Ints, Floats]:
        """Return where the walks are after one step, if they are ``at`` with such shares."""
        owners, agents = np.divmod(at, self._talk.size)
        others, edges = self._edges(egos, owners, agents)
        whole = edges.sum(axis=1, keepdims=True)
        there = shares[:, None] * edges / np.where(whole > 0, whole, 1.0)
        lines, places = np.nonzero(there > 0)
        keys = owners[lines] * self._talk.size + others[lines, places]
        return keys, there[lines, places]

    def _edges(self, egos: Ints, owners: Ints, agents: Ints) -> tuple[Ints, Floats]:
        """Return to whom walks go on from ``agents``; from ego, to the seeds as well."""
        distinct, line = np.unique(agents, return_inverse=True)
        rows = self._talk.rows("worker", distinct)
        edges = edges_of(rows)
        seeds = np.tile(self._seeds, (len(distinct), 1))
        others = np.concatenate((rows.subjects.astype(np.int64), seeds), axis=1)
        believed = np.concatenate((edges > 0, seeds != distinct[:, None]), axis=1)
        believed[~np.isin(distinct, egos), rows.subjects.shape[1] :] = False
        readers, places = np.nonzero(believed)
        named, which = np.unique(others[readers, places], return_inverse=True)
        spoken = _Signs(self._talk.rows("worker", named))
        credibility = np.zeros(believed.shape)
        credibility[readers, places] = _credibility(
            _Signs(rows), readers, spoken.at(which), self._talk.size
        )
        to_seeds = np.where(agents == egos[owners], SEED_EDGE, 0.0)
        weights = np.concatenate(
            (edges[line], np.repeat(to_seeds[:, None], len(self._seeds), axis=1)), axis=1
        )
        return others[line], weights * credibility[line]


def edges_of(rows: Rows) -> Floats:
    """Return how strong each rater's edges are before anybody's credibility."""
    net = np.maximum(rows.good - _BAD_COUNTS * rows.bad, 0.0)
    return np.asarray(np.where(rows.subjects == EMPTY, 0.0, net / (1.0 + net / _HALF_NET)))


class _Signs:
    """Whom raters like and dislike."""

    def __init__(self, rows: Rows) -> None:
        is_heard = (rows.good + rows.bad > _HEARD_LEAST) & (rows.subjects != EMPTY)
        self.subjects = rows.subjects
        self.likes = np.where(is_heard, np.sign(rows.good - rows.bad), 0.0).astype(np.int8)

    def at(self, lines: Ints) -> "_Signs":
        """Return these lines of it."""
        found = object.__new__(_Signs)
        found.subjects, found.likes = self.subjects[lines], self.likes[lines]
        return found


def _credibility(readers: _Signs, lines: Ints, others: _Signs, size: int) -> Floats:
    """Return how far the reader in each of ``lines``, which are in order, believes the other."""
    credibility = np.zeros(len(lines))
    each = max(1, _BLOCK_CELLS // size)
    opinions = np.zeros((min(each, len(readers.subjects)), size), np.int8)
    for first in range(0, len(readers.subjects), each):
        begin, end = np.searchsorted(lines, (first, first + each))
        if begin == end:
            continue
        block = readers.at(np.arange(first, min(first + each, len(readers.subjects))))
        rows, places = np.nonzero(block.likes)
        subjects = block.subjects[rows, places]
        opinions[rows, subjects] = block.likes[rows, places]
        said = others.likes[begin:end]
        both = opinions[lines[begin:end, None] - first, others.subjects[begin:end]] * said
        opinions[rows, subjects] = 0  # quicker than a new one
        agreed = (both > 0).sum(axis=1)
        differed = (both < 0).sum(axis=1)
        credibility[begin:end] = (agreed + 1.0) / (agreed + _BAD_COUNTS * differed + 2.0)
    return np.where(credibility >= CREDIBILITY_LEAST, credibility, 0.0)
