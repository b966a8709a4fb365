"""The asyncio side of the libp2p transport: links over the network.

libp2p is written for trio, our programs for asyncio. So libp2p runs in a thread of its own, and the
two sides exchange calls through two pumps, never objects. libp2p is imported in that thread too
(it takes most of a second), and only once a transport is opened.

Ctrl-C belongs to asyncio: trio never sees it.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from bazaar_host.addresses import Address
from bazaar_host.admission import ConnectionLimits
from bazaar_host.flow import Inbox, Outbound
from bazaar_host.links import OnLink
from bazaar_host.pump import Pump
from bazaar_protocol import limits
from bazaar_protocol.errors import Unreachable
from bazaar_protocol.identity import AgentId, Keypair

if TYPE_CHECKING:
    from bazaar_host.libp2p_core import Core, Opened

_FRAMES_GIVEN_BACK: Final = limits.LINK_RECEIVE_QUEUE_FRAMES_MAX // 4
_BYTES_GIVEN_BACK: Final = limits.LINK_RECEIVE_QUEUE_BYTES_MAX // 4


class Libp2pTransport:
    """A ``Transport`` over TCP, noise and yamux. ``open`` makes one."""

    def __init__(self, on_link: OnLink, on_breach: Callable[[str], None]) -> None:
        self.addresses: list[str] = []
        self._on_link = on_link
        self._on_breach = on_breach
        self._loop = asyncio.get_running_loop()
        self._links: dict[int, Libp2pLink] = {}
        self._dials: dict[int, asyncio.Future[Libp2pLink]] = {}
        self._dial_ids = itertools.count(1)
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._stopped = asyncio.Event()
        self._error: BaseException | None = None
        self._up = Pump(self._wake_asyncio)
        # The trio thread sets these two before it reports that it has started.
        self._down: Pump
        self._core: Core

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        keys: Keypair,
        listen: Sequence[str],
        protocols: Sequence[str],
        on_link: OnLink,
        *,
        bounds: ConnectionLimits | None = None,
        on_breach: Callable[[str], None] | None = None,
    ) -> AsyncGenerator[Self]:
        """Open a transport that listens on the multiaddrs of ``listen``; with none it only dials.

        Args:
            keys: Who we are to our peers.
            listen: For example ``["/ip4/0.0.0.0/tcp/4001"]``; port 0 takes a free one.
            protocols: What peers may speak with us.
            on_link: Called for each link that a peer opens.
            bounds: Limits on inbound connections, if not the usual ones.
            on_breach: Called for each connection that we ended since its peer broke the rules of
                a session, with the reason, of which there is a small set.

        Raises:
            ConfigError: An address of ``listen`` is not one that we can use.
            AddressInUse: We cannot listen on one of the addresses; we listen on none then.

        """
        transport = cls(on_link, on_breach or _ignore)
        await transport._start(keys, listen, protocols, bounds or ConnectionLimits())
        try:
            yield transport
        finally:
            await transport.close()

    async def dial(
        self, peer: AgentId | None, addresses: Sequence[str], protocol: str
    ) -> "Libp2pLink":
        """Open a link to ``peer``, on a connection that we have or at the first good address.

        Raises:
            Unreachable: No address answered as that peer; the text says which and why.

        """
        if self._stopped.is_set():
            raise Unreachable("the transport is closed")
        dial = next(self._dial_ids)
        outcome: asyncio.Future[Libp2pLink] = self._loop.create_future()
        self._dials[dial] = outcome
        self._down.post(self._core.dial, dial, peer, tuple(addresses), protocol)
        try:
            return await outcome
        except asyncio.CancelledError:
            self._dials.pop(dial, None)
            if outcome.cancelled() or outcome.exception() is not None:
                self._down.post(self._core.cancel, dial)
            else:  # it came up in the same moment
                outcome.result().close()
            raise

    async def close(self) -> None:
        """End every link and stop listening. May be called twice."""
        if not self._stopped.is_set():
            for link in self._links.values():
                link.flush()
            self._down.post(self._core.stop)
        await self._stopped.wait()
        self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    async def _start(
        self,
        keys: Keypair,
        listen: Sequence[str],
        protocols: Sequence[str],
        bounds: ConnectionLimits,
    ) -> None:
        places = [Address.parse_place(text) for text in listen]
        self._thread = threading.Thread(
            target=self._run_trio,
            args=(keys, places, tuple(protocols), bounds),
            name="libp2p",
            daemon=True,
        )
        self._thread.start()
        try:
            await asyncio.shield(self._started)
        except asyncio.CancelledError:
            self._started.add_done_callback(self._abandon)
            raise

    def _abandon(self, started: asyncio.Future[None]) -> None:
        if started.exception() is None:
            self._down.post(self._core.stop)

    # In the trio thread.

    def _run_trio(
        self,
        keys: Keypair,
        places: Sequence[Address],
        protocols: Sequence[str],
        bounds: ConnectionLimits,
    ) -> None:
        error: BaseException | None = None
        try:
            # Here and not on top: importing them takes most of a second.
            import trio

            from bazaar_host.hardening import silence_libp2p
            from bazaar_host.libp2p_core import Core, Events

            silence_libp2p()
            poster = self._up.poster
            events = Events(
                started=poster(self._on_started),
                opened=poster(self._on_opened),
                failed=poster(self._on_failed),
                frames=poster(self._on_frames),
                sent=poster(self._on_sent),
                closed=poster(self._on_closed),
                breached=poster(self._on_breach),
            )

            async def serve() -> None:
                token = trio.lowlevel.current_trio_token()

                def wake_trio(function: Callable[[], None]) -> None:
                    with suppress(trio.RunFinishedError):
                        token.run_sync_soon(function)

                self._down = Pump(wake_trio)
                self._core = Core(keys, protocols, bounds, events)
                await self._core.run(places)

            trio.run(serve)
        except BaseException as caught:  # noqa: BLE001 - the other thread raises it
            error = caught
        self._up.post(self._on_stopped, error)

    def _wake_asyncio(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop was closed without closing us
            self._loop.call_soon_threadsafe(function)

    # Posted by the trio thread.

    def _on_started(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self._started.set_result(None)

    def _on_opened(self, opened: "Opened") -> None:
        post, core, number = self._down.post, self._core, opened.link
        link = self._links[number] = Libp2pLink(
            opened,
            push=lambda frames: post(core.push, number, frames),
            give_back=lambda frames, size: post(core.give_back, number, frames, size),
            close=lambda: post(core.close, number),
        )
        if opened.dial is None:
            # Later and not here, so that what goes wrong there does not reach us.
            self._loop.call_soon(self._on_link, link)
        elif (outcome := self._dials.pop(opened.dial, None)) is None or outcome.done():
            link.close()
        else:
            outcome.set_result(link)

    def _on_failed(self, dial: int, error: Unreachable) -> None:
        outcome = self._dials.pop(dial, None)
        if outcome is not None and not outcome.done():
            outcome.set_exception(error)

    def _on_frames(self, link: int, bodies: list[bytes]) -> None:
        self._links[link].deliver(bodies)

    def _on_sent(self, link: int, size: int) -> None:
        self._links[link].sent(size)

    def _on_closed(self, link: int) -> None:
        self._links.pop(link).ended()

    def _on_stopped(self, error: BaseException | None) -> None:
        for link in list(self._links):
            self._on_closed(link)
        for dial in list(self._dials):
            self._on_failed(dial, Unreachable("the transport is closed"))
        if not self._started.done():
            assert error is not None
            self._started.set_exception(error)
        else:
            self._error = error
        self._stopped.set()


class Libp2pLink(Outbound):
    """A ``Link`` over the network. It may end at any time, whoever has not taken its frames yet.

    An application that does not receive for a while loses nothing: at most a megabyte waits here,
    then the peer's ``send`` waits, however long it takes.
    """

    def __init__(
        self,
        opened: "Opened",
        *,
        push: Callable[[bytes], None],
        give_back: Callable[[int, int], None],
        close: Callable[[], None],
    ) -> None:
        super().__init__()
        self.peer = opened.peer
        self.address = opened.address
        self.protocol = opened.protocol
        self.inbound = opened.dial is None
        self._push = push
        self._give_back = give_back
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._outbox: list[bytes] = []
        self._inbox = Inbox(self._note_taken)
        self._frames_taken = 0
        self._bytes_taken = 0
        self._closed = asyncio.Event()

    async def receive(self) -> list[bytes]:
        """Wait for frames and return all that have arrived.

        Raises:
            LinkClosed: The link has ended, and everything that arrived before has been taken.

        """
        return await self._inbox.take()

    def close(self) -> None:
        """End the link, after what is queued."""
        self.flush()
        self._gate.end()
        self._inbox.end(discard=True)
        self._close()

    async def wait_closed(self) -> None:
        """Wait until the link has ended."""
        await self._closed.wait()

    # For the transport.

    def flush(self) -> None:
        """Pass on what was sent."""
        if self._outbox:
            self._push(b"".join(self._outbox))
            self._outbox.clear()

    def deliver(self, bodies: list[bytes]) -> None:
        """Take in frames that arrived."""
        self._inbox.put(bodies)

    def sent(self, size: int) -> None:
        """Note that bytes have left the queue."""
        self._gate.remove(size)

    def ended(self) -> None:
        """Note that the link is gone."""
        self._gate.end()
        self._inbox.end(discard=False)
        self._closed.set()

    def _note_taken(self, frames: int, size: int) -> None:
        # In parts, since each call wakes the other thread; it can do without the last part.
        self._frames_taken += frames
        self._bytes_taken += size
        if self._frames_taken >= _FRAMES_GIVEN_BACK or self._bytes_taken >= _BYTES_GIVEN_BACK:
            self._give_back(self._frames_taken, self._bytes_taken)
            self._frames_taken = self._bytes_taken = 0

    def _enqueue(self, frames: bytes) -> None:
        self._gate.add(len(frames))
        # In the next turn of the loop: what is sent in this one crosses to the other thread once.
        if not self._outbox:
            self._loop.call_soon(self.flush)
        self._outbox.append(frames)


def _ignore(breach: str) -> None:
    """Do not count."""
