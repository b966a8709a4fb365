"""What a relay counts about itself."""

from collections import Counter
from typing import Final

from bazaar_host.metrics import Metrics

_STATUSES: Final = frozenset(
    {
        "accepted", "blocked", "duplicate", "expired", "fork", "gap", "malformed", "pow",
        "rate-limited", "signature", "stale", "storage", "too-large",
    }
)  # fmt: skip
_GROUP_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Counters:
    """The metrics of one relay, by name."""

    def __init__(self, metrics: Metrics) -> None:
        self.registry = metrics.registry
        self._records = metrics.counter("relay_records", "Records answered for.", ["status"])
        self.links = metrics.gauge("relay_links", "Links of nodes that are open.")
        self.bad_frames = metrics.counter("relay_bad_frames", "Links ended for what they sent.")
        self._breaches = metrics.counter(
            "relay_broken_sessions", "Connections ended for how the peer used them.", ["breach"]
        )
        self.lagged = metrics.counter("relay_lagged", "Times that a subscriber fell behind.")
        self.events = metrics.counter("relay_events", "Events handed to subscribers.")
        self.commits = metrics.counter("relay_commits", "Groups made durable.")
        self.failures = metrics.counter("relay_commit_failures", "Groups that were not kept.")
        self.group_size = metrics.histogram(
            "relay_group_size", "Records in each group.", buckets=_GROUP_SIZES
        )
        self._work_bits = metrics.gauge(
            "relay_work_bits", "Proof of work that strangers are asked for, in bits."
        )
        self._carried = metrics.gauge(
            "relay_carried_bytes", "Bytes carried between nodes on relayed links, since the start."
        )
        self._held = metrics.gauge("relay_held", "What is held in memory.", ["what"])

    def count_statuses(self, statuses: tuple[str, ...]) -> None:
        """Count the answer to one ``Publish``."""
        for status, times in Counter(statuses).items():  # a frame has few different ones
            word = status.partition(":")[0]
            self._records.labels(word if word in _STATUSES else "other").inc(times)

    def count_breach(self, breach: str) -> None:
        """Count a connection that was ended for one of the host's ``Breach``es."""
        self._breaches.labels(breach).inc()

    def show_sizes(self, sizes: dict[str, int], *, work_bits: int, carried_bytes: int) -> None:
        """Say how much is held of what, asked of strangers, and carried between nodes."""
        self._carried.set(carried_bytes)
        self._work_bits.set(work_bits)
        for what, size in sizes.items():
            self._held.labels(what).set(size)
