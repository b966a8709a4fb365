"""The contract of a link between two programs, whatever carries it.

``memory.py`` carries it within one event loop, ``bridge.py`` over a network. Both pass
the same tests, so whoever codes against these two protocols need not know which one it got.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from bazaar_protocol.identity import AgentId

RELAY_PROTOCOL: Final = "/bazaar/relay/1"
NODE_PROTOCOL: Final = "/bazaar/node/1"


class Link(Protocol):
    """One long-lived, authenticated, ordered stream of frames to one peer.

    Nothing is acknowledged here: frames that were queued when a link ends may be lost. All
    methods belong to the event loop that opened the transport.
    """

    peer: AgentId
    """Who is at the other end; proven by the connection's handshake."""

    address: str
    """The host part of the remote address, for limits by address; ``memory`` in memory."""

    protocol: str
    """What is spoken: ``RELAY_PROTOCOL`` or ``NODE_PROTOCOL``."""

    inbound: bool
    """True if the peer dialed us."""

    async def send(self, frames: bytes) -> None:
        """Queue one or more whole frames, each with its length as ``framing.pack`` makes them.

        Waits while more than ``LINK_SEND_QUEUE_BYTES_MAX`` bytes are queued. A cancelled ``send``
        has queued nothing.

        Raises:
            LinkClosed: The link has ended.

        """
        ...

    def offer(self, frames: bytes) -> bool:
        """Queue frames like ``send``, but never wait: False if the queue is over its bound.

        Raises:
            LinkClosed: The link has ended.

        """
        ...

    async def receive(self) -> list[bytes]:
        """Wait for frames and return all that have arrived, at least one, without their lengths.

        Taking them is what lets the peer send more. A cancelled ``receive`` has taken nothing.

        Raises:
            LinkClosed: The link has ended, and everything that arrived before has been taken.

        """
        ...

    def close(self) -> None:
        """End the link. What is queued is still sent, if that works out within a moment."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the link has ended, whoever ended it."""
        ...


class Transport(Protocol):
    """Dials peers and hears from peers, under one identity."""

    @property
    def addresses(self) -> list[str]:
        """The multiaddrs we listen on, each with our ``/p2p/…``; empty if we do not listen."""
        ...

    async def dial(self, peer: AgentId | None, addresses: Sequence[str], protocol: str) -> Link:
        """Open a link to ``peer`` at the first of ``addresses`` that answers.

        Each address gets ``DIAL_TIMEOUT_S``. Without ``peer`` each address has to end in the
        ``/p2p/…`` of the peer that is meant.

        Raises:
            Unreachable: No address answered as that peer; the text says which and why.

        """
        ...

    async def close(self) -> None:
        """End every link and stop listening. May be called twice."""
        ...


OnLink = Callable[[Link], None]
"""Called in the event loop for each inbound link."""
