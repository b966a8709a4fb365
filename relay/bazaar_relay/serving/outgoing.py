"""Everything that leaves for nodes: answers, events, letters, and the ends of links.

What one event causes is joined for each node, so it costs one hand-over to the link.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final, TypeAlias

from bazaar_protocol import frames
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.frames import encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.peering_frames import Compared
from bazaar_relay.machine.events import (
    ConnectionId,
    Deliver,
    DeliverLetter,
    Drop,
    Greet,
    Replay,
    Reply,
    Serve,
)
from bazaar_relay.serving.connection import Connection
from bazaar_relay.serving.counters import Counters
from bazaar_relay.serving.fanout import Feed, News
from bazaar_relay.serving.turns import Turns
from bazaar_relay.storage.store import Store

ToNodes: TypeAlias = Greet | Reply | Deliver | DeliverLetter | Replay | Serve | Drop

_ANSWERS: Final = (
    frames.Published, frames.Claimed, frames.Mailed, frames.Collected, frames.Adverts,
    frames.Error, frames.LinkOpened, Compared,
)  # fmt: skip


class Outgoing:
    """Carries out the effects that are for nodes.

    Args:
        answer: Answers a request out of the store.
        store: Where replays come from.
        counters: What is counted.
        newest: Returns the newest cursor that the machine knows.
        welcome: Makes the answer to a hello.

    """

    def __init__(
        self,
        answer: Callable[[Serve], Coroutine[None, None, frames.FromRelay]],
        store: Store,
        counters: Counters,
        *,
        newest: Callable[[], int],
        welcome: Callable[[], frames.Welcome],
    ) -> None:
        self.connections: dict[ConnectionId, Connection] = {}
        self._answer_to = answer
        self._store = store
        self._counters = counters
        self._newest = newest
        self._welcome = welcome
        self._turns = Turns()
        self._feeds: dict[ConnectionId, Feed] = {}
        self._replies: dict[ConnectionId, list[bytes]] = {}
        self._encoded: dict[int, bytes] = {}

    def carry_out(self, effect: ToNodes, tasks: asyncio.TaskGroup) -> None:
        """Do it, but keep answers back for ``flush``."""
        match effect:
            case Reply(connection=number, frame=frame):
                self._reply(number, frame)
            case Deliver():
                self._deliver(effect)
            case DeliverLetter(connections=connections, number=letter, sealed=sealed):
                for number in connections:
                    if number in self._feeds:
                        self._feeds[number].deliver_letter(letter, sealed)
            case Greet(connection=number):
                self._reply(number, self._welcome())
            case Replay():
                self._subscribe(effect, tasks)
            case Serve(connection=number):
                tasks.create_task(self._answer(self.connections[number], effect))
            case Drop(connection=number, code=code, reason=reason):
                self._counters.bad_frames.inc()
                self.flush()
                self.connections[number].fail(code, reason)

    def flush(self) -> None:
        """Send the answers that were kept back."""
        replies, self._replies = self._replies, {}
        self._encoded.clear()
        for number, packed in replies.items():
            self.connections[number].reply(b"".join(packed))

    def end(self, number: ConnectionId) -> None:
        """Forget a link that has ended."""
        self._replies.pop(number, None)
        del self.connections[number]
        feed = self._feeds.pop(number, None)
        if feed is not None:
            feed.stop()

    def stop_feeds(self) -> None:
        """Send no more events."""
        for feed in self._feeds.values():
            feed.stop()
        self._feeds.clear()

    def _reply(self, number: ConnectionId, frame: frames.FromRelay) -> None:
        connection = self.connections.get(number)
        if connection is None:
            return  # it has gone, and what it wrote stays
        if isinstance(frame, _ANSWERS):
            connection.answered()
        self._replies.setdefault(number, []).append(pack(encode_frame(frame)))

    def _deliver(self, deliver: Deliver) -> None:
        news = News.of(deliver.events, self._encoded)
        for number in deliver.connections:
            if number in self._feeds:
                self._feeds[number].deliver(news)
        self._counters.events.inc(len(deliver.events) * len(deliver.connections))

    def _subscribe(self, replay: Replay, tasks: asyncio.TaskGroup) -> None:
        before = self._feeds.get(replay.connection)
        if before is not None:
            before.stop()
        feed = Feed(
            self.connections[replay.connection],
            replay,
            self._store,
            turns=self._turns,
            newest=self._newest,
            on_lagged=self._counters.lagged.inc,
        )
        self._feeds[replay.connection] = feed
        feed.start(tasks)

    async def _answer(self, connection: Connection, serve: Serve) -> None:
        peer = connection.link.peer
        try:
            async with connection.reading:
                read = partial(self._answer_to, serve)
                await connection.send(await self._turns.read(peer, read))
        except LinkClosed:
            return
        finally:
            connection.answered()
