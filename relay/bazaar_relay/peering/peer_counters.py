"""What a relay counts about its peers."""

from typing import Final

from bazaar_host.metrics import Metrics

FAULTS: Final = (
    "broken", "contradiction", "endless", "malformed", "signature", "too-large", "withheld",
)  # fmt: skip


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
