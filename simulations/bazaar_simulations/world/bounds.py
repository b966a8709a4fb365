"""The bounds of all queues of a world that can be seen from outside."""

from collections.abc import Sequence
from typing import Final

from bazaar_node.driver import EVENTS_QUEUED_MAX
from bazaar_node.network.relays import OUTBOX_KEPT_MAX
from bazaar_protocol import limits
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.network import WeatherNetwork
from bazaar_simulations.world.node_process import NodeProcess

_BOUNDED: Final = "every queue has its bound"
_LINK_BYTES_MAX: Final = limits.LINK_SEND_QUEUE_BYTES_MAX + 2 * limits.FRAME_BYTES_MAX
_TICKS: Final = 2
"""What a driver queues for itself beside what others may."""


def check_bounds(nodes: Sequence[NodeProcess], network: WeatherNetwork) -> None:
    """Check every queue.

    Raises:
        BrokenInvariant: One is longer than it may be.

    """
    for node in nodes:
        if node.desk is not None:
            queued = node.desk.parts.driver.queued
            _check(queued, EVENTS_QUEUED_MAX + _TICKS, f"events of {node.name}")
        db = node.disk.look(node.database)
        if db is not None and db.execute("PRAGMA user_version").fetchone()[0]:
            (kept,) = db.execute("SELECT count(*) FROM outbox").fetchone()
            _check(kept, 2 * OUTBOX_KEPT_MAX, f"outbox of {node.name}")
    for link in network.links:
        for end in (link, link.far_end):
            _check(end.backlog_bytes, _LINK_BYTES_MAX, f"bytes on {end.names}")


def _check(found: int, most: int, what: str) -> None:
    if found > most:
        raise BrokenInvariant(_BOUNDED, f"{found} {what}, at most {most} are allowed")
