"""The threat models of EigenTrust's own paper, to check the simulator by what is published.

Kamvar, Schlosser & Garcia-Molina 2003, section 7: a network that shares files; good peers serve a
bad file once in twenty times; in each cycle every peer asks fifty times or so for a file. Malicious
peers answer twice as many queries as the good. Whom to load from is drawn by trust, and with a
chance of one in ten among those with none.

=====  =============================================================================
A      malicious peers serve bad files, and praise whoever serves bad files
B      they form a ring instead
C      and serve good files in part, to be trusted
D      and some, the spies, serve good files always and praise the ring
=====  =============================================================================
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.eigentrust import trust_of

Threat: TypeAlias = Literal["A", "B", "C", "D"]

_PRE_TRUSTED: Final = 3
_CYCLES: Final = 30
_QUERIES_PER_CYCLE: Final = 50
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


def of_share(threat: Threat, share: float, *, uses_trust: bool, seed: int) -> Network:
    """Return the network of sixty peers, three more that are pre-trusted, and a malicious share."""
    malicious = round(60 * share)
    return Network(threat, 60 - malicious, malicious, uses_trust=uses_trust, seed=seed)


def bad_downloads(network: Network) -> float:
    """Return which part of the good peers' downloads is bad."""
    peers = _Peers(network)
    for _ in range(_CYCLES):
        for _ in range(_QUERIES_PER_CYCLE * peers.size // 63):
            peers.query()
        if network.uses_trust:
            peers.reckon()
    return peers.bad / peers.downloads


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

    def query(self) -> None:
        """Let a peer at random load a file from whom it would rather."""
        rng = self._rng
        asker = int(rng.integers(self.size))
        answering = np.flatnonzero(rng.random(self.size) < self._answers)
        answering = answering[answering != asker]
        if not len(answering):
            return
        source = self._source(answering)
        is_good_file = bool(rng.random() < self._chance(source))
        if self._is_good[asker]:
            self.downloads += 1
            self.bad += not is_good_file
            self._content[asker, source] += 1 if is_good_file else -1
        elif self._network.threat == "A":
            self._content[asker, source] += -1 if is_good_file else 1

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

    def _source(self, answering: Ints) -> int:
        rng = self._rng
        if not self._network.uses_trust:
            return int(rng.choice(answering))
        trust = self._trust[answering]
        strangers = answering[trust <= _NO_TRUST]
        known = answering[trust > _NO_TRUST]
        if len(strangers) and (not len(known) or rng.random() < _TRIES_STRANGERS):
            return int(rng.choice(strangers))
        trust = self._trust[known]
        return int(rng.choice(known, p=trust / trust.sum()))

    def _chance(self, source: int) -> float:
        is_malicious = source in self._malicious
        return 1.0 - self._network.bad_files if is_malicious else 1.0 - _HONEST_ERROR
