"""What a subscriber is sent: first out of the store, then live, nothing lost and nothing repeated.

While a subscriber is behind, the store is its buffer and memory is not: news are only noted, and it
reads on from its cursor. Going live needs no lock, since nothing else runs between the last look at
what was noted and the change of state.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, StorageError
from bazaar_protocol.frames import Filter, encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId
from bazaar_relay.machine.events import Replay
from bazaar_relay.serving.connection import Connection
from bazaar_relay.serving.turns import Turns
from bazaar_relay.storage.store import Store, Stored


@dataclass(frozen=True, slots=True)
class News:
    """New events, encoded once for all who get them, in order of their cursors."""

    events: tuple[tuple[int, bytes], ...]
    joined: bytes

    @classmethod
    def of(cls, stored: Sequence[Stored], encoded: dict[int, bytes]) -> "News":
        """Take what was just committed; ``encoded`` is shared by all news of one commit."""
        for event in stored:
            if event.cursor not in encoded:
                encoded[event.cursor] = pack_event(event)
        events = tuple((event.cursor, encoded[event.cursor]) for event in stored)
        return cls(events, b"".join(packed for _, packed in events))


def pack_event(stored: Stored) -> bytes:
    """Return an ``Event`` as it goes over the wire."""
    return pack(encode_frame(frames.Event(stored.cursor, stored.raw)))


class Feed:
    """One standing subscription.

    Args:
        connection: Whose it is.
        replay: What was subscribed to, and from where on.
        store: Where the past is.
        turns: When it may be read.
        newest: Returns the newest cursor of which all news have been handed to the feeds.
        on_lagged: Called each time the subscriber falls behind.

    """

    def __init__(
        self,
        connection: Connection,
        replay: Replay,
        store: Store,
        *,
        turns: Turns,
        newest: Callable[[], int],
        on_lagged: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._peer: AgentId = replay.peer
        self._filters: tuple[Filter, ...] = replay.filters
        self._request: int | None = replay.request
        self._cursor = replay.since
        self._store = store
        self._turns = turns
        self._newest = newest
        self._on_lagged = on_lagged
        self._is_live = False
        self._noted: list[tuple[int, bytes]] = []
        self._noted_bytes = 0
        self._has_overflown = False
        self._has_letters = True
        self._letter = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin with the replay."""
        self._tasks = tasks
        self._task = tasks.create_task(self._catch_up(is_lagged=False))

    def stop(self) -> None:
        """Send no more."""
        self._is_live = False
        if self._task is not None:
            self._task.cancel()

    def deliver(self, news: News) -> None:
        """Take new events."""
        if not self._is_live:
            self._note(news)
            return
        first, last = news.events[0][0], news.events[-1][0]
        if last <= self._cursor:
            return
        packed = news.joined
        if first <= self._cursor:  # the replay has sent a part of them
            packed = b"".join(packed for cursor, packed in news.events if cursor > self._cursor)
        if self._offer(packed):
            self._cursor = last

    def deliver_letter(self, number: int, sealed: bytes) -> None:
        """Take a new letter."""
        if number <= self._letter:
            return  # the replay has sent it
        if self._is_live and self._offer(pack(encode_frame(frames.Letter(number, sealed)))):
            self._letter = number
        else:
            self._has_letters = True

    def _offer(self, packed: bytes) -> bool:
        try:
            if self._connection.link.offer(packed):
                return True
        except LinkClosed:
            return False
        self._is_live = False
        self._on_lagged()
        self._task = self._tasks.create_task(self._catch_up(is_lagged=True))
        return False

    def _note(self, news: News) -> None:
        self._noted_bytes += len(news.joined)
        if self._noted_bytes > limits.FEED_BYTES_MAX:
            self._has_overflown = True
            self._noted.clear()
        if not self._has_overflown:
            self._noted += news.events

    async def _catch_up(self, *, is_lagged: bool) -> None:
        try:
            if self._cursor > await self._store.cursor():
                self._cursor = 0  # it is from another store
            if is_lagged:
                await self._connection.send(frames.Lagged(self._cursor))
            while not self._is_live:
                await self._replay()
                await self._send_noted()
                await self._send_letters()
                await self._say_caught_up()
                self._is_live = not (self._noted or self._has_overflown or self._has_letters)
        except LinkClosed:
            return
        except StorageError as error:
            self._connection.fail("storage", str(error))

    async def _replay(self) -> None:
        """Send what the store has, up to some moment after which all news were noted."""
        is_behind = self._has_overflown or self._cursor < self._newest()
        while is_behind:
            self._noted.clear()
            self._noted_bytes = 0
            self._has_overflown = False
            newest = self._newest()
            found, reached = _first_of(*await self._turns.read(self._peer, self._scan))
            if found:
                await self._connection.link.send(b"".join(map(pack_event, found)))
            self._cursor = reached
            is_behind = self._has_overflown or reached < newest

    async def _scan(self) -> tuple[list[Stored], int]:
        return await self._store.scan(self._filters, after=self._cursor, limit=limits.REPLAY_PAGE)

    async def _waiting_letters(self) -> list[tuple[int, bytes]]:
        return await self._store.letters(self._peer)

    async def _send_noted(self) -> None:
        while self._noted and not self._has_overflown:
            noted, self._noted, self._noted_bytes = self._noted, [], 0
            packed = bytearray()
            for number, (cursor, event) in enumerate(noted, start=1):
                packed += event if cursor > self._cursor else b""
                is_last = number == len(noted)
                if packed and (is_last or len(packed) > limits.REPLAY_BYTES_MAX):
                    await self._connection.link.send(bytes(packed))
                    self._cursor = cursor
                    packed.clear()

    async def _send_letters(self) -> None:
        while self._has_letters:
            self._has_letters = False
            for number, sealed in await self._turns.read(self._peer, self._waiting_letters):
                if number > self._letter:
                    await self._connection.send(frames.Letter(number, sealed))
                    self._letter = number

    async def _say_caught_up(self) -> None:
        if self._request is None or self._has_overflown:
            return
        request, self._request = self._request, None
        await self._connection.send(frames.CaughtUp(request, self._cursor))


def _first_of(found: list[Stored], reached: int) -> tuple[list[Stored], int]:
    """Return as much of a page as may wait for one reader, and how far that goes.

    Records are of any size up to their bound, and who does not read holds its page in memory.
    """
    size = 0
    for place, stored in enumerate(found):
        size += len(stored.raw)
        if size > limits.REPLAY_BYTES_MAX and place:
            return found[:place], found[place - 1].cursor
    return found, reached
