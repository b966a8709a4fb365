"""How many strangers may be connected: the accounting of inbound connections. Pure.

libp2p 0.8.1 has a count of its own, which it never gives back: after 250 connections in its whole
life a host is dead. Here every slot is released when its connection ends.
"""

from collections import Counter
from dataclasses import dataclass

from bazaar_protocol import limits


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds on inbound connections; the defaults are the ones of ``limits.py``."""

    pending_max: int = limits.CONNECTIONS_PENDING_MAX
    """Connections that have not yet proven who they are."""
    per_address_max: int = limits.CONNECTIONS_PER_ADDRESS_MAX
    total_max: int = limits.CONNECTIONS_MAX
    streams_max: int = limits.STREAMS_PER_CONNECTION_MAX
    """Streams that the peer may have open on one connection."""
    proxies: frozenset[str] = frozenset()
    """Addresses of our own reverse proxies, who say from where a connection comes."""


class Admission:
    """Counts inbound connections and says whether there is room for one more."""

    def __init__(self, bounds: ConnectionLimits) -> None:
        self._bounds = bounds
        self._by_address: Counter[str] = Counter()
        self.pending = 0
        self.total = 0

    def admit(self, address: str) -> bool:
        """Take a slot for a new connection from ``address``; False if there is none."""
        if (
            self.pending >= self._bounds.pending_max
            or self.total >= self._bounds.total_max
            or not self._has_room(address)
        ):
            return False
        self.pending += 1
        self.total += 1
        self._by_address[address] += 1
        return True

    def forward(self, proxy: str, address: str) -> bool:
        """Count a connection from a proxy for where it comes from; False if it may not come in.

        From then on its slot is that of ``address``.
        """
        if not self._has_room(address):
            return False
        self._drop(proxy)
        self._by_address[address] += 1
        return True

    def is_proxy(self, address: str) -> bool:
        """Tell whether a connection from ``address`` comes from somewhere else."""
        return address in self._bounds.proxies

    def settle(self) -> None:
        """Note that an admitted connection has finished its handshakes, well or badly."""
        self.pending -= 1

    def release(self, address: str) -> None:
        """Give back the slot of a connection that has ended."""
        self.total -= 1
        self._drop(address)

    def _has_room(self, address: str) -> bool:
        count = self._by_address.get(address, 0)
        return count < self._bounds.per_address_max or self.is_proxy(address)

    def _drop(self, address: str) -> None:
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
