"""A link to another node through a relay: what ``transfer`` speaks on, as on any other link.

Two tasks serve it. One encrypts what was queued, as fast as the other end gives credit; the other
decrypts what comes, and gives credit once the application has taken it. So neither end nor the
relay ever holds more than a window and a queue.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

from bazaar_host.flow import Inbox, Outbound
from bazaar_node.network.relayed.carrier import Carrier
from bazaar_node.network.relayed.secrecy import PLAIN_BYTES_MAX, Handshake, Session
from bazaar_protocol import limits
from bazaar_protocol.errors import LinkClosed, MalformedRecord, RemoteError
from bazaar_protocol.frames import NODE_PROTOCOL
from bazaar_protocol.framing import Splitter
from bazaar_protocol.identity import AgentId

ADDRESS: Final = "relayed"
_DATA: Final = b"\x00"
_END: Final = b"\x01"
_PIECE_BYTES: Final = PLAIN_BYTES_MAX - len(_DATA)


class RelayedLink(Outbound):
    """A ``Link`` to ``peer``, which its handshake has proven to be at the other end.

    ``run`` has to be running; nobody else should have the link before ``is_up``.
    """

    def __init__(self, carrier: Carrier, peer: AgentId, *, inbound: bool) -> None:
        super().__init__()
        self.peer = peer
        self.address = ADDRESS
        self.protocol = NODE_PROTOCOL
        self.inbound = inbound
        self.is_up = False
        """Whether the peer has proven who it is."""
        self.failure = "the link has ended"
        """Why it ended, for people."""
        self._carrier = carrier
        self._inbox = Inbox(self._on_taken)
        self._queue: deque[bytes] = deque()
        self._is_closing = False
        self._has_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()

    async def run(self, handshake: Handshake) -> None:
        """Serve the link until it ends."""
        try:
            async with asyncio.timeout(limits.RELAYED_HANDSHAKE_S):
                session = await self._shake_hands(handshake)
            self.is_up = True
            self._changed.set()
            await self._serve(session)
        except RemoteError as error:
            self.failure = str(error)
        except TimeoutError:
            self.failure = "no handshake came in time"
        finally:
            self._gate.end()
            self._inbox.end(discard=False)
            self._changed.set()
            self._closed.set()
            await self._carrier.close("" if self._is_closing else self.failure)

    async def wait_up(self) -> None:
        """Wait until the peer has proven who it is.

        Raises:
            LinkClosed: The link ended before that.

        """
        while not self.is_up:
            if self._closed.is_set():
                raise LinkClosed(self.failure)
            self._changed.clear()
            await self._changed.wait()

    async def receive(self) -> list[bytes]:
        """Wait for frames and return all that have arrived.

        Raises:
            LinkClosed: The link has ended, and everything that arrived before has been taken.

        """
        try:
            return await self._inbox.take()
        except LinkClosed as error:
            raise LinkClosed(self.failure) from error

    def close(self) -> None:
        """End the link, after what is queued, if that can be sent within a moment."""
        if self._is_closing:
            return
        self._is_closing = True
        self._gate.end()
        self._inbox.end(discard=True)
        self._has_work.set()
        self._has_room.set()
        wait_s = limits.LINK_CLOSE_TIMEOUT_S if self.is_up else 0
        asyncio.get_running_loop().call_later(wait_s, self._carrier.abort, "closed")

    async def wait_closed(self) -> None:
        """Wait until the link has ended."""
        await self._closed.wait()

    def _enqueue(self, frames: bytes) -> None:
        self._gate.add(len(frames))
        self._queue.append(frames)
        self._has_work.set()

    def _on_taken(self, count: int, size: int) -> None:
        del count, size
        self._has_room.set()

    async def _shake_hands(self, handshake: Handshake) -> Session:
        """Exchange the three messages, the opener's first."""
        if self.inbound:
            await self._carrier.accept()
        for turn in range(3):
            if (turn % 2 == 0) is not self.inbound:
                await self._carrier.send(handshake.write())
            else:
                message = await self._carrier.receive()
                handshake.read(message)
                await self._carrier.took(message)
        return handshake.session()

    async def _serve(self, session: Session) -> None:
        tasks = [
            asyncio.create_task(self._write(session)),
            asyncio.create_task(self._read(session)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _write(self, session: Session) -> None:
        while True:
            while self._queue:
                frames = self._queue.popleft()
                for start in range(0, len(frames), _PIECE_BYTES):
                    piece = frames[start : start + _PIECE_BYTES]
                    await self._carrier.send(session.encrypt(_DATA + piece))
                self._gate.remove(len(frames))
            if self._is_closing:
                # Signed off, so that nobody between us can pass a cut for an end.
                with suppress(LinkClosed):
                    await self._carrier.send(session.encrypt(_END))
                return
            self._has_work.clear()
            await self._has_work.wait()

    async def _read(self, session: Session) -> None:
        splitter = Splitter()
        while True:
            message = await self._carrier.receive()
            plain = session.decrypt(message)
            if plain == _END:
                self.failure = "the other end has closed the link"
                return
            if plain[:1] != _DATA:
                raise MalformedRecord("a message that is neither data nor the end")
            self._inbox.put(splitter.feed(plain[1:]))
            while not (self._inbox.has_room or self._is_closing):
                self._has_room.clear()
                await self._has_room.wait()
            await self._carrier.took(message)
