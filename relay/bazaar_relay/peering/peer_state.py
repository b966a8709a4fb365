"""How things stand with one peer, for people and for metrics."""

from typing import Final, Literal, TypeAlias

import msgspec

from bazaar_host.metrics import Metrics

Stage: TypeAlias = Literal["connecting", "catching-up", "live", "shunned"]

FAULTS: Final = (
    "broken", "contradiction", "endless", "malformed", "signature", "too-large", "withheld",
)  # fmt: skip


class PeerState(msgspec.Struct):
    """How things stand with one peer."""

    address: str
    agent: str
    """Its did:key."""
    stage: Stage = "connecting"
    behind: int = 0
    """How many records of its store are not here yet, as far as that is known."""
    pulled: int = 0
    """How many records were new here."""
    faults: int = 0
    """How often it was sent away for what it showed."""
    compared_ms: int = 0
    """When its logs were compared last."""
    trouble: str = ""
    """What went wrong last; empty once it works again."""


class PeerCounters:
    """The metrics of all peers, by their peer ids: there are few."""

    def __init__(self, metrics: Metrics) -> None:
        self.records = metrics.counter(
            "relay_peer_records", "Records that a peer handed out.", ["peer", "status"]
        )
        self.faults = metrics.counter(
            "relay_peer_faults", "Times that a peer was sent away.", ["peer", "fault"]
        )
        self.letters = metrics.counter(
            "relay_peer_letters", "Letters that were forwarded to a peer.", ["peer"]
        )
        self.comparisons = metrics.counter(
            "relay_peer_comparisons", "Comparisons of all logs.", ["peer", "outcome"]
        )
        self.up = metrics.gauge("relay_peer_live", "Whether a peer's news come live.", ["peer"])
        self.behind = metrics.gauge(
            "relay_peer_behind", "Records of a peer that are not here yet.", ["peer"]
        )
