"""Several adversaries at once, each with a part of the malicious principals."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.adversaries.adversary import (
    Adversary,
    Bools,
    Crowd,
    Ints,
    Jobs,
    Ratings,
    Traits,
)


class Mixture(Adversary):
    """Adversaries side by side; they know nothing of each other.

    Args:
        parts: Adversaries, and how large a share of the malicious principals each has. The shares
            need not sum to 1: only their ratios matter.

    Raises:
        ConfigError: There is no part, or a share is not above 0.

    """

    source = "our own: attackers do not wait for each other"
    observable = "what gives away each of them"
    metric = "bad outcomes"

    def __init__(self, parts: Sequence[tuple[Adversary, float]]) -> None:
        if not parts or any(share <= 0 for _, share in parts):
            raise ConfigError("a mixture has parts, and the share of each is above 0")
        self.name = " + ".join(part.name for part, _ in parts)
        self._parts = [part for part, _ in parts]
        self._shares = np.array([share for _, share in parts])

    def traits(self, principals: int) -> Traits:
        counts = self._principals(principals)
        every = [part.traits(count) for part, count in zip(self._parts, counts, strict=True)]
        return Traits.joined(every, counts)

    def delivers(self, jobs: Jobs) -> Bools:
        good = jobs.none()
        for part, crowd, first in self._split(jobs.crowd):
            mine = np.flatnonzero((jobs.workers >= first) & (jobs.workers < first + crowd.size))
            if len(mine):
                good[mine] = part.delivers(jobs.some(mine, crowd, first))
        return good

    def trades(self, crowd: Crowd) -> Ratings:
        return Ratings.joined(*(part.trades(one) for part, one, _ in self._split(crowd)))

    def claims(self, crowd: Crowd) -> Ratings:
        return Ratings.joined(*(part.claims(one) for part, one, _ in self._split(crowd)))

    def verdicts(self, crowd: Crowd, posters: Ints, workers: Ints, good: Bools) -> Ints:
        said = np.zeros(len(posters), np.int64)
        for part, one, first in self._split(crowd):
            mine = np.flatnonzero((posters >= first) & (posters < first + one.size))
            if len(mine):
                said[mine] = part.verdicts(one, posters[mine] - first, workers[mine], good[mine])
        return said

    def sells_vouches(self, principals: int) -> tuple[Ints, Ints]:
        sold = [
            (first, part.sells_vouches(count))
            for part, (first, _, count) in zip(self._parts, self._spans(principals), strict=True)
        ]
        sellers = np.concatenate([first + pair[0] for first, pair in sold])
        return sellers, np.concatenate([first + pair[1] for first, pair in sold])

    def _principals(self, principals: int) -> list[int]:
        """Return how many each part has of so many."""
        ends = np.round(np.cumsum(self._shares) / self._shares.sum() * principals)
        return [int(count) for count in np.diff(ends, prepend=0)]

    def _spans(self, principals: int) -> Iterator[tuple[int, int, int]]:
        """Yield of each part its first member, how many it has, and of how many principals."""
        first = 0
        for part, count in zip(self._parts, self._principals(principals), strict=True):
            size = len(part.traits(count).owner)
            yield first, size, count
            first += size

    def _split(self, crowd: Crowd) -> Iterator[tuple[Adversary, Crowd, int]]:
        """Yield each part with its own crowd, and where that begins in the whole one."""
        spans = self._spans(crowd.principals)
        for part, (first, size, principals) in zip(self._parts, spans, strict=True):
            if size:
                met = crowd.bad_met[first : first + size]
                start = crowd.first + first
                own = replace(crowd, size=size, principals=principals, first=start, bad_met=met)
                yield part, own, first
