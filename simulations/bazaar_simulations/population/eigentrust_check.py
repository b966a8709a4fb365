"""The threat models of EigenTrust's own paper, to check the simulator by what is published.

Kamvar, Schlosser & Garcia-Molina 2003, section 7: a network that shares files; good peers serve a
bad file once in twenty times; in each cycle every peer asks fifty times or so for a file. Malicious
peers join a network of sixty good and three pre-trusted ones, and answer twice as many queries as
these. Whom to load from is drawn by trust, and with a chance of one in ten among those with none.

=====  =============================================================================
A      malicious peers serve bad files, and praise whoever serves bad files
B      they form a ring instead
C      and serve good files in part, to be trusted
D      and some, the spies, serve good files always and praise the ring
=====  =============================================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.eigentrust import trust_of
from bazaar_simulations.population.intervals import Interval, interval

Threat: TypeAlias = Literal["A", "B", "C", "D"]

_PLAIN: Final[tuple[Threat, ...]] = ("A", "B")
_PRE_TRUSTED: Final = 3
_GOOD: Final = 60
_CYCLES: Final = 30
_COUNTED_FROM: Final = 15
"""What comes before is how trust begins; the published curves are of a steady state."""
_QUERIES: Final = 50
_GOOD_ANSWERS: Final = 0.10
_MALICIOUS_ANSWERS: Final = 0.20
_HONEST_ERROR: Final = 0.05
_TRIES_STRANGERS: Final = 0.10
_NO_TRUST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Network:
    """Who is in it, and what the malicious do."""

    threat: Threat
    good: int
    malicious: int
    spies: int = 0
    bad_files: float = 1.0
    """Of what malicious peers serve, which part is bad (threat model C)."""
    uses_trust: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Bad downloads in one case."""

    threat: Threat
    case: str
    without: Interval
    """Whom to load from is drawn at random."""
    trusting: Interval


def of_share(threat: Threat, share: float) -> Network:
    """Return sixty good peers, three that are pre-trusted, and the malicious who join them."""
    return Network(threat, _GOOD, round((_GOOD + _PRE_TRUSTED) * share / (1.0 - share)))


def bad_downloads(network: Network) -> float:
    """Return which part of the good peers' downloads is bad."""
    peers = _Peers(network)
    for number in range(_CYCLES):
        if number == _COUNTED_FROM:
            peers.downloads = peers.bad = 0
        peers.cycle()
        if network.uses_trust:
            peers.reckon()
    return peers.bad / peers.downloads


def check(seeds: Sequence[int]) -> list[Found]:
    """Return the curves of all four threat models, without and with trust."""
    networks = [(f"{share:.0%} malicious", of_share(threat, share))
                for threat in _PLAIN for share in (0.0, 0.2, 0.4, 0.7)]  # fmt: skip
    networks += [(f"{share:.0%} bad files", Network("C", 50, 20, bad_files=share))
                 for share in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]  # fmt: skip
    networks += [(f"{bad} malicious, {spies} spies", Network("D", _GOOD, bad, spies))
                 for bad, spies in ((40, 0), (36, 4), (30, 10), (20, 20), (10, 30))]  # fmt: skip
    return [
        Found(
            network.threat,
            case,
            _over(replace(network, uses_trust=False), seeds),
            _over(network, seeds),
        )
        for case, network in networks
    ]


def _over(network: Network, seeds: Sequence[int]) -> Interval:
    return interval(bad_downloads(replace(network, seed=seed)) for seed in seeds)


class _Peers:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._rng = np.random.default_rng([network.seed, 2003])
        honest = _PRE_TRUSTED + network.good
        self.size = honest + network.malicious + network.spies
        self._is_good: Bools = np.arange(self.size) < honest
        self._malicious: Ints = np.arange(honest, honest + network.malicious)
        self._spies: Ints = np.arange(honest + network.malicious, self.size)
        self._answers = np.where(self._is_good, _GOOD_ANSWERS, _MALICIOUS_ANSWERS)
        self._content: Floats = np.zeros((self.size, self.size))
        self._trust = np.zeros(self.size)
        self._trust[:_PRE_TRUSTED] = 1.0 / _PRE_TRUSTED
        self.downloads = self.bad = 0

    def cycle(self) -> None:
        """Let every peer ask fifty times or so, each time loading from whom it would rather."""
        rng = self._rng
        askers = rng.integers(0, self.size, _QUERIES * self.size)
        answers = rng.random((len(askers), self.size)) < self._answers
        answers[np.arange(len(askers)), askers] = False
        answered = answers.any(axis=1)
        askers, answers = askers[answered], answers[answered]
        sources = _drawn(self._wishes(answers), rng)
        is_good_file = rng.random(len(askers)) < self._chances()[sources]
        is_good_peer = self._is_good[askers]
        self.downloads += int(is_good_peer.sum())
        self.bad += int((is_good_peer & ~is_good_file).sum())
        said = np.where(is_good_file, 1.0, -1.0)
        if self._network.threat == "A":
            said[~is_good_peer] *= -1.0
        else:
            said[~is_good_peer] = 0.0
        np.add.at(self._content, (askers, sources), said)

    def reckon(self) -> None:
        """Compute everybody's trust from what they are content with."""
        local = np.maximum(self._content, 0.0)
        if self._network.threat in {"B", "C", "D"}:
            local[self._malicious] = 0.0
            local[np.ix_(self._malicious, self._malicious)] = 1.0
            local[self._malicious, self._malicious] = 0.0
        if len(self._spies):
            local[self._spies] = 0.0
            local[np.ix_(self._spies, self._malicious)] = 1.0
        self._trust = trust_of(local, np.arange(_PRE_TRUSTED))

    def _wishes(self, answers: Bools) -> Floats:
        """Return by query and peer how likely the asker is to load from it, before scaling."""
        if not self._network.uses_trust:
            return answers.astype(float)
        is_known = self._trust > _NO_TRUST
        known, strangers = answers & is_known, answers & ~is_known
        tries = self._rng.random(len(answers)) < _TRIES_STRANGERS
        takes_stranger = strangers.any(axis=1) & (tries | ~known.any(axis=1))
        return np.where(takes_stranger[:, None], strangers, known * self._trust)

    def _chances(self) -> Floats:
        """Return how often each peer serves a good file."""
        chances = np.full(self.size, 1.0 - _HONEST_ERROR)
        chances[self._malicious] = 1.0 - self._network.bad_files
        return chances


def _drawn(weights: Floats, rng: np.random.Generator) -> Ints:
    """Return one column for each row, drawn by its weights."""
    sums = weights.cumsum(axis=1)
    drawn = rng.random(len(weights)) * sums[:, -1]
    return np.asarray((sums > drawn[:, None]).argmax(axis=1))
