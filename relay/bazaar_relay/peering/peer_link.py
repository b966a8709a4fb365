"""One connection to a peer while it lasts: requests and their answers, events, and its pulse.

Answers go to whoever asked. Events are queued; while the queue is full nothing more is read, and
so the peer stops as well, whose store is the buffer. Whoever waits for an answer is not held up by
that for ever: taking events needs nothing from the peer.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from bazaar_host.links import Link
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, MalformedRecord, Refused
from bazaar_protocol.frames import decode_from_relay, encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.peering_frames import (
    Compare,
    Compared,
    Forward,
    GetHeads,
    GetLogs,
    GetLoose,
    Here,
    Listed,
)

Request: TypeAlias = Compare | GetHeads | GetLogs | GetLoose | Forward | frames.Ping
Answer: TypeAlias = Compared | Listed | frames.Segment | frames.Mailed | frames.Pong
News: TypeAlias = frames.Event | frames.CaughtUp | frames.Lagged

_ANSWERS: Final[dict[type[Request], type[Answer]]] = {
    Compare: Compared,
    GetHeads: Listed,
    GetLogs: frames.Segment,
    GetLoose: frames.Segment,
    Forward: frames.Mailed,
    frames.Ping: frames.Pong,
}


@dataclass(frozen=True, slots=True)
class Pending:
    """A request under way."""

    number: int
    answer_type: type[Answer]
    answer: asyncio.Future[Answer]


class PeerLink:
    """A link on which the peer has said welcome."""

    def __init__(self, link: Link, early: list[bytes]) -> None:
        self.bytes_read = 0
        """Of frames, without their lengths."""
        self._link = link
        self._early = early
        self._number = 0
        self._pending: dict[int, Pending] = {}
        self._news: deque[tuple[News, int]] = deque()
        self._news_bytes = 0
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._heard_at = asyncio.get_running_loop().time()

    async def read(self) -> None:
        """Take what comes, until the link ends.

        Raises:
            LinkClosed: It ended.
            MalformedRecord: The peer breaks the protocol.
            Refused: The peer ends it, and says why.

        """
        bodies = self._early
        while True:
            for body in bodies:
                self._take(body)
            await self._has_room.wait()
            bodies = await self._link.receive()
            self._heard_at = asyncio.get_running_loop().time()

    async def keep_alive(self) -> None:
        """Ask for a sign of life when nothing comes.

        Raises:
            LinkClosed: None came.

        """
        while True:
            quiet_s = asyncio.get_running_loop().time() - self._heard_at
            if quiet_s < limits.PING_AFTER_S or not self._has_room.is_set():
                await asyncio.sleep(max(limits.PING_AFTER_S - quiet_s, 1.0))
                continue
            await self.request(frames.Ping(0))

    async def request(self, frame: Request) -> Answer:
        """Send ``frame`` under a number of its own and wait for the answer.

        Raises:
            Refused: The peer said no.
            LinkClosed: The link ended, or no answer came in time.

        """
        return await self.answer(await self.send(frame))

    async def send(self, frame: Request) -> Pending:
        """Send ``frame`` under a number of its own; ``answer`` is to be called for it."""
        self._number += 1
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        pending = Pending(self._number, _ANSWERS[type(frame)], future)
        self._pending[pending.number] = pending
        await self._say(msgspec.structs.replace(frame, request=self._number))
        return pending

    async def answer(self, pending: Pending) -> Answer:
        """Wait for the answer to what was sent; raises like ``request``."""
        try:
            async with _deadline():
                return await pending.answer
        finally:
            self._pending.pop(pending.number, None)

    async def here(self, agents: tuple[bytes, ...]) -> None:
        """Say which agents listen at our place."""
        await self._say(Here(agents))

    async def subscribe(self, since: int) -> None:
        """Ask for everything beyond a cursor of the peer's."""
        self._number += 1
        await self._say(frames.Subscribe(self._number, (frames.Filter(),), since))

    async def news(self) -> list[News]:
        """Wait for events, and return some of them in order."""
        while not self._news:
            self._has_news.clear()
            await self._has_news.wait()
        taken: list[News] = []
        while self._news and len(taken) < limits.PULLED_RECORDS_MAX:
            news, size = self._news.popleft()
            self._news_bytes -= size
            taken.append(news)
        if self._news_bytes < limits.PEER_QUEUE_BYTES_MAX:
            self._has_room.set()
        return taken

    def close(self) -> None:
        """End it; whoever waits for an answer gets none."""
        self._link.close()
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(LinkClosed("the link to the peer ended"))
                pending.answer.exception()  # looked at, for those for which nobody waits any more

    async def _say(self, frame: frames.ToRelay) -> None:
        async with _deadline():
            await self._link.send(pack(encode_frame(frame)))

    def _take(self, body: bytes) -> None:
        self.bytes_read += len(body)
        match decode_from_relay(body):
            case frames.Event() | frames.CaughtUp() | frames.Lagged() as news:
                self._news.append((news, len(body)))
                self._news_bytes += len(body)
                self._has_news.set()
                if self._news_bytes >= limits.PEER_QUEUE_BYTES_MAX:
                    self._has_room.clear()
            case Compared() | Listed() | frames.Segment() | frames.Mailed() | frames.Pong() as one:
                self._settle(one)
            case frames.Error(request=request, code=code, reason=reason):
                self._fail(request, Refused(code, reason))
            case frames.Letter():
                pass  # for the relay itself, which reads none
            case other:
                raise MalformedRecord(f"a peer was not asked for a {type(other).__name__.lower()}")

    def _settle(self, answer: Answer) -> None:
        pending = self._pending.get(answer.request)
        if pending is None:
            self._check_number(answer.request)
        elif type(answer) is not pending.answer_type:
            raise MalformedRecord(f"{type(answer).__name__.lower()} is no answer to that request")
        elif not pending.answer.done():
            pending.answer.set_result(answer)

    def _fail(self, request: int, error: Refused) -> None:
        pending = self._pending.get(request)
        if pending is None:
            raise error
        if not pending.answer.done():
            pending.answer.set_exception(error)

    def _check_number(self, number: int) -> None:
        # Of a number that we gave out, this is an answer for which nobody waits any more.
        if not 0 < number <= self._number:
            raise MalformedRecord(f"an answer to request {number}, which was never sent")


@asynccontextmanager
async def _deadline() -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(limits.REQUEST_TIMEOUT_S):
            yield
    except TimeoutError as error:
        raise LinkClosed(f"the peer gave no answer for {limits.REQUEST_TIMEOUT_S:g} s") from error
