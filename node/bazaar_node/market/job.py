"""What a worker knows of an attempt while it holds a slot for it."""

from dataclasses import dataclass, field
from typing import Final

from bazaar_node.market.events import Offer
from bazaar_node.market.ledger import Entry
from bazaar_protocol.records import Record, RecordId

HEARTBEATS_PER_TIMEOUT: Final = 6
HEARTBEAT_EVERY_MS_MIN: Final = 50
"""A lease of a few milliseconds does not get a thousand signatures a second."""


@dataclass(slots=True)
class Job:
    """An attempt of ours that holds a slot."""

    entry: Entry
    epoch: int
    offer: Offer
    beat_ms: int
    """When the next heartbeat is due."""
    percent: int = 0
    note: str = ""
    beats: dict[RecordId, Record] = field(default_factory=dict)
    """Heartbeats that the sequencer has not answered."""

    def lease_ends_ms(self) -> int:
        """Return when we stop, unless the sequencer renews the lease before."""
        task = self.entry.task
        assert task.deadline_ms is not None
        assert task.close_ms is not None
        return min(task.deadline_ms, task.close_ms)

    def beat_every_ms(self) -> int:
        """Return the time between two heartbeats."""
        timeout = self.entry.task.terms.lease.heartbeat_timeout_ms
        return max(timeout // HEARTBEATS_PER_TIMEOUT, HEARTBEAT_EVERY_MS_MIN)
