"""Books made of ratings by numbered agents, and the score computed once more from the formulas.

The reference shares no code with the product: dense matrices, solved exactly, or a library's page
rank. It knows ratings, vouches and seeds; it is slow and meant to be read.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_reputation.book import Book
from bazaar_reputation.findings import Finding, Role, StrandKey
from bazaar_reputation.strands import Tally, fold

Vector = NDArray[np.float64]
NEWEST = 40
"""The round to which every rater's log is known."""


@cache
def agent(number: int) -> AgentId:
    """Return the agent of that number; their ids are in no order that means anything."""
    return AgentId(sha256(b"agent %d" % number).digest())


@dataclass(frozen=True)
class Rating:
    """What one agent says about another; a rater of None is the subject's own proof."""

    rater: int | None
    subject: int
    good: float = 0.0
    bad: float = 0.0
    capability: str = "pdf.extract"
    version: int = 1
    fingerprint: bytes = b""
    age: int = 0
    role: Role = "worker"

    @property
    def key(self) -> StrandKey:
        rater = None if self.rater is None else agent(self.rater)
        return StrandKey(
            self.role, agent(self.subject), rater, self.capability, self.version, self.fingerprint
        )

    @property
    def tally(self) -> Tally:
        tally = fold([finding(self.key, at=NEWEST - self.age)])
        return replace(tally, good=self.good, bad=self.bad)


class Asked(NamedTuple):
    """About which capability, version and fingerprint."""

    capability: str | None = None
    version: int = 0
    fingerprint: bytes = b""


ANYTHING = Asked()


def finding(
    key: StrandKey, *, at: int, number: int = 0, is_good: bool = True, weight: int = 1000
) -> Finding:
    """Return a finding of which the record stands for nothing."""
    text = b"%r %d %d" % (key, at, number)
    contract, record = RecordId(sha256(text).digest()), RecordId(sha256(b"2" + text).digest())
    return Finding(contract, key, is_good, weight, at, record, "accepted")


def merged(ratings: Iterable[Rating]) -> list[Rating]:
    """Return the ratings with one for each strand, the last."""
    return list({rating.key: rating for rating in ratings}.values())


def book_of(ratings: Iterable[Rating], vouches: Iterable[tuple[int, int]] = ()) -> Book:
    """Return a book of ratings, and of vouches by the first for the second."""
    book = Book()
    for rating in ratings:
        book.put(rating.key, rating.tally)
        if rating.rater is not None:
            book.head(agent(rating.rater), 2 * NEWEST)
    for seq, (voucher, vouched) in enumerate(vouches, 1):
        book.vouch(agent(voucher), seq, agent(vouched), is_withdrawn=False)
    return book


class Reference:
    """The formulas, once more.

    Args:
        ratings: What everybody says.
        ego: Who asks.
        seeds: Whom ego's user has named.
        convicted: Whose word and whose edges are gone.

    """

    def __init__(
        self,
        ratings: Sequence[Rating],
        ego: int,
        *,
        seeds: Sequence[int] = (),
        convicted: Sequence[int] = (),
    ) -> None:
        self.ego = ego
        self.ratings = [one for one in ratings if one.rater != one.subject]
        named = {ego, *seeds, *convicted}
        for one in self.ratings:
            named |= {one.subject} if one.rater is None else {one.subject, one.rater}
        self.size = max(named) + 1
        self.convicted = convicted
        self.good, self.bad = np.zeros((2, self.size, self.size))
        for one in self.ratings:
            if one.rater is not None and one.role == "worker":
                self.good[one.rater, one.subject] += one.good * 0.98**one.age
                self.bad[one.rater, one.subject] += one.bad * 0.99**one.age
        self.credibility = self._credibility()
        net = np.maximum(self.good - 2 * self.bad, 0)
        edges = net / (1 + net / 8)
        for seed in set(seeds) - {ego}:
            edges[ego, seed] += 0.2
        self.edges = edges * self.credibility
        for number in convicted:
            self.edges[number, :] = self.edges[:, number] = 0

    def _credibility(self) -> Vector:
        said = np.sign(self.good - self.bad) * (self.good + self.bad > 0.3)
        likes, dislikes = (said > 0).astype(float), (said < 0).astype(float)
        agreed = likes @ likes.T + dislikes @ dislikes.T
        differed = likes @ dislikes.T + dislikes @ likes.T
        credibility = (agreed + 1) / (agreed + 2 * differed + 2)
        return np.where(credibility < 0.35, 0.0, credibility)

    def steps(self) -> Vector:
        """Return the matrix of the walk's steps."""
        return by_rows(self.edges)

    def page_rank(self) -> Vector:
        """Return where the walk ends, by networkx; what is lost goes to a node of its own."""
        lost = self.size
        graph = nx.DiGraph()
        graph.add_nodes_from(range(lost + 1))
        for rater, subject in zip(*np.nonzero(self.edges), strict=True):
            graph.add_edge(int(rater), int(subject), weight=float(self.edges[rater, subject]))
        ranks = nx.pagerank(
            graph, alpha=0.75, personalization={self.ego: 1.0}, dangling={lost: 1.0},
            tol=1e-13, max_iter=10_000,
        )  # fmt: skip
        return np.array([ranks[number] for number in range(self.size)])

    def weights(self, ends: Vector) -> Vector:
        """Return the weight of every rater of whom it is known how often the walk ends there."""
        weights = np.minimum(1.0, 20 * ends) * (self.credibility[self.ego] > 0)
        weights[list(self.convicted)] = 0.0
        weights[self.ego] = 1.0
        return np.asarray(weights)

    def evidence(
        self,
        subject: int,
        weights: Vector,
        vouched: Sequence[int] = (),
        asked: Asked = ANYTHING,
    ) -> tuple[float, float]:
        """Return the good and the bad evidence about ``subject``, who vouches for ``vouched``."""
        good: dict[int | None, float] = defaultdict(float)
        bad: dict[int | None, float] = defaultdict(float)
        shared = 0.0
        for one in self.ratings:
            is_proof = one.rater is None
            if one.role != "worker" or (one.subject != subject and one.subject not in vouched):
                continue
            if one.subject == subject:
                part = _part(one, asked)
                good[one.rater] += part * one.good * 0.98**one.age
                bad[one.rater] += part * one.bad * (1 if is_proof else 0.99**one.age)
            elif not is_proof and one.rater != subject:
                bad[one.rater] += one.bad * 0.99**one.age / 4
        for other in vouched:
            proven = sum(one.bad for one in self.ratings if one.rater is None
                         and one.subject == other and one.role == "worker")  # fmt: skip
            shared += proven / (1 + proven / 4) / 4
        return self._sum(good, weights), self._sum(bad, weights) + bad[None] + shared

    def _sum(self, jobs: Mapping[int | None, float], weights: Vector) -> float:
        whole = 0.0
        for rater, amount in jobs.items():
            if rater == self.ego:
                whole += amount
            elif rater is not None:
                whole += weights[rater] * amount / (1 + amount / 4)
        return float(whole)


def by_rows(edges: Vector) -> Vector:
    """Return each row divided by its sum; rows of nothing stay."""
    sums = edges.sum(axis=1, keepdims=True)
    return np.asarray(edges / np.where(sums > 0, sums, 1.0))


def ends_of(steps: Vector, start: int) -> Vector:
    """Return where a walk from ``start`` ends that stops with probability 1/4 at each step."""
    size = len(steps)
    return 0.25 * np.linalg.solve(np.eye(size) - 0.75 * steps.T, np.eye(size)[start])


def crossing(steps: Vector, start: int, strangers: Sequence[int]) -> float:
    """Return how likely the walk ever takes a step to one of ``strangers``."""
    inside = [number for number in range(len(steps)) if number not in strangers]
    among = steps[np.ix_(inside, inside)]
    begin = np.array([float(number == start) for number in inside])
    visits = np.linalg.solve(np.eye(len(inside)) - 0.75 * among.T, begin)
    return float(0.75 * visits @ steps[np.ix_(inside, list(strangers))].sum(axis=1))


def _part(rating: Rating, asked: Asked) -> float:
    if asked.capability is None:
        return 1.0
    if rating.capability != asked.capability:
        return 0.0
    is_same = asked.version in {0, rating.version}
    return 1.0 if is_same and asked.fingerprint in {b"", rating.fingerprint} else 0.5
