"""Whom an agent would ask: the good work it has got from others, and how far they see alike.

An edge from rater to subject is earned by accepted work alone, bad work counting twice. It is as
strong as the two agree on the subjects that both have rated; who contradicts too often is cut off.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bazaar_reputation.book import Book
from bazaar_reputation.ratings import evidence_in
from bazaar_reputation.walk import Row

SEED_EDGE: Final = 0.2
"""The edge from ego to each of the seeds that its user named."""

CREDIBILITY_LEAST: Final = 0.35

_BAD_COUNTS: Final = 2.0
_HALF_NET: Final = 8.0
_HEARD_LEAST: Final = 0.3
_KEPT_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a rater thinks of those it has got work from."""

    likes: frozenset[int]
    dislikes: frozenset[int]
    edges: Mapping[int, float]
    """Saturated net good work, of those with any."""

    def credibility_of(self, other: "Opinion") -> float:
        """Return how far to believe ``other``: 1/2 of a stranger, 0 below the least."""
        agreed = len(self.likes & other.likes) + len(self.dislikes & other.dislikes)
        differed = len(self.likes & other.dislikes) + len(self.dislikes & other.likes)
        credibility = (agreed + 1) / (agreed + _BAD_COUNTS * differed + 2)
        return credibility if credibility >= CREDIBILITY_LEAST else 0.0


class Trust:
    """The graph that ego's walk goes over, kept until the evidence behind it changes.

    Args:
        book: All evidence.
        ego: Whose walk.
        seeds: Whom ego's user has named.

    """

    def __init__(self, book: Book, ego: int, seeds: Iterable[int] = ()) -> None:
        self._book = book
        self._ego = ego
        self._seeds = frozenset(seeds)
        self._opinions: dict[int, Opinion] = {}
        self._rows: dict[int, Row] = {}
        self._readers: dict[int, set[int]] = {}
        self._position = book.position

    def catch_up(self) -> bool:
        """Forget what has changed in the book and tell whether any row has."""
        changes = self._book.changes_since(self._position)
        self._position = self._book.position
        if changes is None or len(self._opinions) > _KEPT_MAX:
            self._opinions.clear()
            self._rows.clear()
            self._readers.clear()
            return True
        changed = [self._forget(agent) for agent in dict.fromkeys(changes)]
        return any(changed)

    def row(self, agent: int) -> Row:
        """Return where the walk goes on to from ``agent``, in the order of the ids."""
        row = self._rows.get(agent)
        if row is None:
            row = self._rows[agent] = self._make_row(agent)
        return row

    def opinion(self, agent: int) -> Opinion:
        """Return what ``agent`` thinks of whom."""
        opinion = self._opinions.get(agent)
        if opinion is None:
            opinion = self._opinions[agent] = opinion_of(self._book, agent)
        return opinion

    def breadth(self, agent: int) -> int:
        """Return how many agents ``agent`` has rated."""
        subjects = self._book.ratings["worker"].subjects
        return sum(len(subjects(log)) for log in self._book.lineage.family(agent))

    def _make_row(self, agent: int) -> Row:
        book = self._book
        if book.is_convicted(agent):
            return ()
        own = self.opinion(agent)
        edges = dict(own.edges)
        if agent == self._ego:
            for seed in self._seeds - {agent}:
                edges[seed] = edges.get(seed, 0.0) + SEED_EDGE
        weighted: list[tuple[int, float]] = []
        for other in sorted(edges, key=book.ids.__getitem__):
            self._readers.setdefault(other, set()).add(agent)
            credibility = own.credibility_of(self.opinion(other))
            if credibility and not book.is_convicted(other):
                weighted.append((other, edges[other] * credibility))
        whole = math.fsum(weight for _, weight in weighted)
        return tuple((other, weight / whole) for other, weight in weighted)

    def _forget(self, agent: int) -> bool:
        self._opinions.pop(agent, None)
        has_changed = self._rows.pop(agent, None) is not None
        for reader in self._readers.pop(agent, ()):
            has_changed |= self._rows.pop(reader, None) is not None
        return has_changed


def opinion_of(book: Book, agent: int) -> Opinion:
    """Return what ``agent`` thinks of those whose work it has judged, whatever the capability."""
    ratings = book.ratings["worker"]
    final = book.lineage.final
    heard: dict[int, list[tuple[float, float]]] = {}
    for log in book.lineage.family(agent):
        now = book.round_of(log)
        for subject in ratings.subjects(log):
            evidence = [evidence_in(strand, now) for strand in ratings.strands(subject, log)]
            heard.setdefault(final(subject), []).extend(evidence)
    heard.pop(agent, None)  # whoever praises itself says nothing
    likes: list[int] = []
    dislikes: list[int] = []
    edges: dict[int, float] = {}
    for subject, evidence in heard.items():
        good = math.fsum(good for good, _ in evidence)
        bad = math.fsum(bad for _, bad in evidence)
        if good + bad > _HEARD_LEAST and good != bad:
            (likes if good > bad else dislikes).append(subject)
        net = good - _BAD_COUNTS * bad
        if net > 0.0:
            edges[subject] = net / (1.0 + net / _HALF_NET)
    return Opinion(frozenset(likes), frozenset(dislikes), edges)
