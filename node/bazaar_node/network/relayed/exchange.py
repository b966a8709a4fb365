"""The relayed links through one relay: those that we open, and those that we are offered.

What a relay says of a link is believed for nothing but which frames belong together. Who is at the
other end, the handshake has to prove; and whoever we have no dealings with is not even answered.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, Protocol, TypeAlias

from bazaar_host.links import Link, OnLink
from bazaar_host.logs import logger
from bazaar_node.network.relayed.carrier import Carrier, Said
from bazaar_node.network.relayed.link import RelayedLink
from bazaar_node.network.relayed.secrecy import Handshake
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, MalformedRecord
from bazaar_protocol.identity import AgentId, Keypair

FEATURE: Final = "link"
"""What a hello and a welcome name if they are about links, too."""

_TASKS_MAX: Final = 3 * limits.LINKS_SERVED_MAX

LinkNews: TypeAlias = (
    frames.LinkOpened | frames.LinkOffered | frames.LinkData | frames.LinkCredit | frames.CloseLink
)

log = logger(__name__)


class Session(Protocol):
    """What a session with a relay does for its links."""

    @property
    def is_connected(self) -> bool:
        """Whether anything can be sent."""
        ...

    async def open_link(self, peer: AgentId) -> int:
        """Have the relay open a link, and return its number."""
        ...

    async def tell(self, frame: Said) -> None:
        """Send a frame that has no answer."""
        ...


class LinkExchange:
    """The links through one relay.

    Args:
        session: The session with the relay.
        keys: Who we are.
        entropy: Draws random bytes for keys.

    """

    def __init__(self, session: Session, keys: Keypair, *, entropy: Callable[[int], bytes]) -> None:
        self.on_link: OnLink = _decline
        """Called with each link that a peer has opened and proven to be its own."""
        self.has_dealings: Callable[[AgentId], bool] = lambda _: False
        """Whose links are taken."""
        self._session = session
        self._keys = keys
        self._entropy = entropy
        self._carriers: dict[int, Carrier] = {}
        self._inbound: dict[int, AgentId] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, peer: AgentId) -> Link:
        """Open a link to ``peer``, which has proven who it is when this returns.

        Raises:
            RemoteError: The relay or the peer refuses, is away, or is somebody else.

        """
        number = await self._opened(peer)
        carrier = self._carriers.get(number)
        if carrier is None:
            raise LinkClosed("the relay closed the link at once")
        link = RelayedLink(carrier, peer, inbound=False)
        self._start(self._run(link, number))
        try:
            await link.wait_up()
        except BaseException:
            link.close()
            raise
        return link

    async def _opened(self, peer: AgentId) -> int:
        # In a task of its own: who gives up must not leave a link that nobody knows of.
        opening = asyncio.create_task(self._session.open_link(peer))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._let_go)
            raise

    def _let_go(self, opening: asyncio.Task[int]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            return
        carrier = self._carriers.pop(opening.result(), None)
        if carrier is not None:
            self._start(carrier.close("not wanted any more"))

    def take(self, news: LinkNews) -> None:
        """Take what the relay says about links. It is called in order, and never waits.

        Raises:
            MalformedRecord: The relay breaks the protocol.

        """
        match news:
            case frames.LinkOpened(_, number):
                self._add(number)
            case frames.LinkOffered(number, by):
                self._consider(number, AgentId(by))
            case frames.LinkData(number, data):
                if number in self._carriers:
                    self._carriers[number].on_data(data)
            case frames.LinkCredit(number, size):
                if number in self._carriers:
                    self._carriers[number].on_credit(size)
            case frames.CloseLink(number, reason):
                if number in self._carriers:
                    self._carriers.pop(number).on_close(reason)

    def lost(self) -> None:
        """End every link: the relay is away."""
        carriers, self._carriers = self._carriers, {}
        for carrier in carriers.values():
            carrier.on_close("the link to the relay ended")

    def _add(self, number: int) -> Carrier:
        if number in self._carriers:
            raise MalformedRecord("a relayed link has a number of its own")
        carrier = self._carriers[number] = Carrier(number, self._session.tell)
        return carrier

    def _consider(self, number: int, peer: AgentId) -> None:
        if len(self._tasks) >= _TASKS_MAX:
            return  # an offer that nobody answers is over in a few seconds
        peers = list(self._inbound.values())
        has_room = (
            len(peers) < limits.LINKS_SERVED_MAX
            and peers.count(peer) < limits.LINKS_SERVED_PER_PEER_MAX
        )
        if not (has_room and self.has_dealings(peer)):
            self._start(Carrier(number, self._session.tell).close("not wanted here"))
            return
        link = RelayedLink(self._add(number), peer, inbound=True)
        self._inbound[number] = peer
        self._start(self._run(link, number))
        self._start(self._hand_over(link))

    async def _hand_over(self, link: RelayedLink) -> None:
        try:
            await link.wait_up()
        except LinkClosed as error:
            log.debug("a relayed link came to nothing", trouble=str(error))
        else:
            self.on_link(link)

    async def _run(self, link: RelayedLink, number: int) -> None:
        keys, entropy = self._keys, self._entropy
        handshake = Handshake(keys, link.peer, is_opener=not link.inbound, entropy=entropy)
        try:
            await link.run(handshake)
        finally:
            self._carriers.pop(number, None)
            self._inbound.pop(number, None)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _decline(link: Link) -> None:
    link.close()
