"""Who hears what a relay says: the rest of a node, and what takes relayed links."""

from typing import TYPE_CHECKING, Protocol

from bazaar_node.network.relayed.exchange import LinkNews
from bazaar_protocol import frames

if TYPE_CHECKING:
    from bazaar_node.network.relay_session import RelaySession


class SessionListener(Protocol):
    """Hears from a session: one call at a time, in the order in which the relay spoke.

    While a method runs, what comes next waits, in the end at the relay. A method may make requests
    on the session. A ``RemoteError`` that leaves it ends the link, and the session dials again; any
    other error ends ``run``. It is cancelled when the link ends meanwhile.
    """

    async def on_connected(self, session: "RelaySession", welcome: frames.Welcome) -> None:
        """Begin: a link is up. Time to subscribe."""
        ...

    async def on_event(self, session: "RelaySession", cursor: int, raw: bytes) -> None:
        """Take a record that matches the subscription. Nobody has verified it."""
        ...

    async def on_caught_up(self, session: "RelaySession", cursor: int) -> None:
        """Note that everything up to ``cursor`` was sent."""
        ...

    async def on_letter(self, session: "RelaySession", number: int, sealed: bytes) -> None:
        """Take a letter; it comes again until it is collected."""
        ...

    async def on_lagged(self, session: "RelaySession", cursor: int) -> None:
        """Note that we were too slow; the relay goes on from ``cursor`` and leaves nothing out."""
        ...

    async def on_disconnected(self, session: "RelaySession", reason: str) -> None:
        """Note that the link which ``on_connected`` told of is lost."""
        ...


class LinkTaker(Protocol):
    """Hears at once, in order, of what concerns relayed links, and never waits."""

    def take(self, news: LinkNews) -> None:
        """Take what the relay says; a ``RemoteError`` ends the link to it."""
        ...

    def lost(self) -> None:
        """Note that the relay is away, and with it all links."""
        ...
