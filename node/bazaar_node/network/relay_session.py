"""A node's lasting connection to one relay, through all that a network does to it.

The daemon runs one ``RelaySession`` for each relay it knows, and hears from it as its listener.
Whatever happens (the relay restarts, hangs, or sends nonsense) the session ends the link, waits,
and dials again; only cancelling ``run`` or a fault of our own ends it. Events that a lost link
swallowed come again, since the listener subscribes anew from the cursor it has dealt with.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from bazaar_host.links import Link, Transport
from bazaar_host.logs import logger
from bazaar_node.network.relay_link import Answer, News, Pending, RelayLink, Request, Timing
from bazaar_node.network.relayed.carrier import Said
from bazaar_node.network.relayed.exchange import FEATURE
from bazaar_node.network.session_listener import LinkTaker, SessionListener
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import (
    LinkClosed,
    MalformedRecord,
    Refused,
    RemoteError,
    TooLarge,
    Unreachable,
)
from bazaar_protocol.framing import pack
from bazaar_protocol.work_wanted import PREFIX, WorkWanted, read_work_wanted

SOFTWARE: Final = "bazaar"
_TAKEN: Final = ("accepted", "duplicate")
_FRAME_OVERHEAD_BYTES: Final = 64
_RECORD_OVERHEAD_BYTES: Final = 5

log = logger(__name__)


class RelaySession:
    """A connection to the relay at ``address`` that mends itself.

    All requests raise ``Unreachable`` while there is no link, ``Refused`` when the relay says no,
    ``LinkClosed`` when the link ends or no answer comes in time (then it may have been done or
    not), and ``MalformedRecord`` for an answer that is none.

    Args:
        transport: Dials; it makes sure that the relay is the one in ``address``.
        address: A multiaddr that ends in ``/p2p/…``.
        listener: Who hears.
        rng: Spreads the attempts to connect.
        timing: How patient to be.

    """

    def __init__(
        self,
        transport: Transport,
        address: str,
        listener: SessionListener,
        *,
        rng: random.Random,
        timing: Timing | None = None,
    ) -> None:
        self.address = address
        self.welcome: frames.Welcome | None = None
        """What the relay said of itself; none while there is no link."""
        self.last_failure = ""
        """Why the last attempt or link ended, for people."""
        self.has_tried = asyncio.Event()
        """Set once an attempt has failed; a listener sets it when it has what others wait for."""
        self.malformed_count = 0
        """How many links ended because the relay broke the protocol."""
        self.links: LinkTaker | None = None
        """Takes what concerns relayed links, if we take any."""
        self.work: Callable[[WorkWanted], Awaitable[bytes | None]] = _no_work
        """Does the proof of work that a relay asks for: returns a stamp, or none."""
        self._transport = transport
        self._listener = listener
        self._rng = rng
        self._timing = timing or Timing()
        self._relay: RelayLink | None = None

    @property
    def is_connected(self) -> bool:
        """Whether requests can be made."""
        return self._relay is not None

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            LocalError: The listener met it.

        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            started_at = loop.time()
            try:
                await self._connect_and_serve()
            except RemoteError as error:
                self._note(str(error).removeprefix(f"{self.address}: "))
                self.malformed_count += isinstance(error, MalformedRecord)
            # A relay that welcomes us and hangs up at once must not be dialed ten times a second.
            if loop.time() - started_at > self._timing.backoff_s_max:
                attempt = 0
            delay_s = min(self._timing.backoff_first_s * 2**attempt, self._timing.backoff_s_max)
            await asyncio.sleep(delay_s * self._rng.uniform(0.5, 1))
            attempt = min(attempt + 1, 16)

    def drop(self, error: RemoteError) -> None:
        """End the link, if there is one, and dial again."""
        if self._relay is not None:
            self._relay.fail(error)

    async def request(self, frame: Request) -> Answer:
        """Send ``frame``, whose number is ignored, and wait for its answer.

        It is of the type that belongs to the request; another would have ended the link.
        """
        try:
            return await self._connected().request(frame)
        except Refused as refused:
            if refused.prefix != PREFIX or not await self._show_work(str(refused)):
                raise
        return await self._connected().request(frame)

    async def publish(self, raws: Sequence[bytes]) -> list[str]:
        """Publish records in order, in as many frames as it takes; a status for each.

        If the relay asks for work first, that is done. When it raises, some of them may have been
        published.
        """
        statuses = await self._publish(raws)
        refused = [place for place, one in enumerate(statuses) if one.startswith(f"{PREFIX}:")]
        if not refused or not await self._show_work(statuses[refused[0]]):
            return statuses
        # What comes after the first of them may have been refused for the hole that it left.
        return statuses[: refused[0]] + await self._publish(raws[refused[0] :])

    async def _show_work(self, status: str) -> bool:
        """Publish a stamp such as ``status`` asks for; False if there is none that is taken."""
        wanted = read_work_wanted(status)
        stamp = None if wanted is None else await self.work(wanted)
        return stamp is not None and (await self._publish([stamp]))[0] in _TAKEN

    async def _publish(self, raws: Sequence[bytes]) -> list[str]:
        relay = self._connected()
        statuses: list[str] = []
        under_way: deque[tuple[Pending, int]] = deque()
        try:
            for batch in _batches(raws):
                if len(under_way) == limits.PUBLISHES_UNDER_WAY_MAX:
                    statuses += await self._statuses(relay, *under_way[0])
                    under_way.popleft()
                under_way.append((await relay.send(frames.Publish(0, batch)), len(batch)))
            while under_way:
                statuses += await self._statuses(relay, *under_way[0])
                under_way.popleft()
        finally:
            for pending, _ in under_way:
                relay.forget(pending)
        return statuses

    async def subscribe(self, filters: Sequence[frames.Filter], since: int) -> None:
        """Ask for what matches any of ``filters``, from the cursor ``since`` on.

        It replaces the earlier subscription. The answer is what the listener hears; a relay that
        refuses it loses the link.
        """
        await self._connected().subscribe(tuple(filters), since)

    async def query(
        self, capability: str, words: str = "", *, after: str = "", limit: int = limits.PAGE_MAX
    ) -> frames.Adverts:
        """Return a page of adverts, best first; ``next`` of it is ``after`` for the next."""
        answer = await self.request(frames.Query(0, capability, words, after, limit))
        assert isinstance(answer, frames.Adverts)
        return answer

    async def log(self, author: bytes, first: int, last: int) -> list[bytes]:
        """Return the entries ``first`` to ``last`` of a log, as far as the relay has them."""
        raws: list[bytes] = []
        while first + len(raws) <= last:
            segment = await self._segment(frames.GetLog(0, author, first + len(raws), last))
            raws += segment.records
            if first + len(raws) > last + 1:
                raise self._broken(f"more entries than the {last - first + 1} asked for")
            if not segment.more:
                break
        return raws

    async def head(self, author: bytes) -> bytes | None:
        """Return the newest entry of a log, or None if the relay knows none."""
        segment = await self._segment(frames.GetHead(0, author))
        if len(segment.records) > 1:
            raise self._broken(f"a log has one head, not {len(segment.records)}")
        return segment.records[0] if segment.records else None

    async def task(self, task_id: bytes, after: int = 0) -> list[bytes]:
        """Return the records of a task in the relay's order, those after the cursor ``after``."""
        raws: list[bytes] = []
        while True:
            segment = await self._segment(frames.GetTask(0, task_id, after))
            raws += segment.records
            if not segment.more:
                return raws
            if segment.cursor <= after or len(raws) > limits.RECORDS_PER_TASK_MAX:
                raise self._broken("the records of a task have no end")
            after = segment.cursor

    async def inclusion(self, record: bytes) -> frames.Included:
        """Ask for the receipt that a record is under; ``not-found`` while there is none."""
        answer = await self.request(frames.GetInclusion(0, record))
        assert isinstance(answer, frames.Included)
        return answer

    async def statement(self, author: bytes) -> bytes:
        """Have the relay sign which entry of a log is the newest that it has."""
        answer = await self.request(frames.GetStatement(0, author))
        assert isinstance(answer, frames.Stated)
        return answer.record

    async def claim(self, task: bytes) -> bytes:
        """Ask the relay, which is the sequencer, for a task; return its award."""
        answer = await self.request(frames.Claim(0, task))
        assert isinstance(answer, frames.Claimed)
        return answer.record

    async def mail(self, to: bytes, sealed: bytes) -> None:
        """Leave a sealed letter for an agent; it is durable when this returns."""
        await self.request(frames.Mail(0, to, sealed))

    async def collect(self, numbers: Sequence[int]) -> None:
        """Let the relay forget letters that we have dealt with."""
        for start in range(0, len(numbers), limits.LETTERS_PER_AGENT_MAX):
            part = tuple(numbers[start : start + limits.LETTERS_PER_AGENT_MAX])
            await self.request(frames.Collect(0, part))

    async def open_link(self, peer: bytes) -> int:
        """Have the relay open a link to an agent that is connected to it; return its number."""
        answer = await self.request(frames.OpenLink(0, peer))
        assert isinstance(answer, frames.LinkOpened)
        return answer.link

    async def tell(self, frame: Said) -> None:
        """Send a frame that has no answer."""
        await self._connected().tell(frame)

    async def ping(self) -> float:
        """Return how many seconds an answer takes."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        await self.request(frames.Ping(0))
        return loop.time() - started_at

    def _note(self, failure: str) -> None:
        if failure != self.last_failure:  # once, and not with each of its repetitions
            log.warning("relay not reached", relay=self.address, trouble=failure)
        self.last_failure = failure
        self.has_tried.set()

    def _connected(self) -> RelayLink:
        if self._relay is None:
            raise Unreachable(f"no link to the relay {self.address}: {self.last_failure}")
        return self._relay

    def _broken(self, reason: str) -> MalformedRecord:
        """End the link for an answer that only its asker could judge."""
        error = MalformedRecord(reason)
        self.drop(error)
        return error

    async def _segment(
        self, frame: frames.GetLog | frames.GetHead | frames.GetTask
    ) -> frames.Segment:
        answer = await self.request(frame)
        assert isinstance(answer, frames.Segment)
        if answer.more and not answer.records:
            raise self._broken("an empty page that is not the last")
        return answer

    async def _statuses(self, relay: RelayLink, pending: Pending, count: int) -> tuple[str, ...]:
        answer = await relay.answer(pending)
        assert isinstance(answer, frames.Published)
        if len(answer.statuses) != count:
            raise self._broken(f"{len(answer.statuses)} statuses for {count} records")
        return answer.statuses

    async def _connect_and_serve(self) -> None:
        async with self._dialed() as link:
            welcome, early = await self._shake_hands(link)
            relay = RelayLink(link, self._timing, early)
            if self.links is not None:
                relay.take_link = self.links.take
            self.welcome, self._relay = welcome, relay
            try:
                await relay.run(lambda: self._listener.on_connected(self, welcome), self._tell)
            except RemoteError as error:
                self.welcome = self._relay = None
                await self._listener.on_disconnected(self, str(error))
                raise
            finally:
                self.welcome = self._relay = None
                if self.links is not None:
                    self.links.lost()

    @asynccontextmanager
    async def _dialed(self) -> AsyncGenerator[Link]:
        link = await self._transport.dial(None, [self.address], frames.RELAY_PROTOCOL)
        try:
            yield link
        finally:
            link.close()

    async def _shake_hands(self, link: Link) -> tuple[frames.Welcome, list[bytes]]:
        try:
            async with asyncio.timeout(self._timing.request_s):
                features = () if self.links is None else (FEATURE,)
                hello = frames.Hello(frames.VERSION, SOFTWARE, features)
                await link.send(pack(frames.encode_frame(hello)))
                first, *early = await link.receive()
        except TimeoutError as error:
            raise LinkClosed("the relay did not say welcome") from error
        match frames.decode_from_relay(first):
            case frames.Welcome() as welcome:
                if welcome.version != frames.VERSION:
                    raise Refused(
                        "version", f"the relay speaks {welcome.version}, not {frames.VERSION}"
                    )
                return welcome, early
            case frames.Error(_, code, reason):
                raise Refused(code, reason)
            case other:
                raise MalformedRecord(f"a {type(other).__name__.lower()} instead of a welcome")

    async def _tell(self, news: News) -> None:
        match news:
            case frames.Event(cursor, record):
                await self._listener.on_event(self, cursor, record)
            case frames.CaughtUp(_, cursor):
                await self._listener.on_caught_up(self, cursor)
            case frames.Letter(number, sealed):
                await self._listener.on_letter(self, number, sealed)
            case frames.Lagged(cursor):
                await self._listener.on_lagged(self, cursor)


async def _no_work(_: WorkWanted) -> None:
    """Leave it: who has not been told how to do any does none."""


def _batches(raws: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    batches: list[tuple[bytes, ...]] = []
    batch: list[bytes] = []
    size = _FRAME_OVERHEAD_BYTES
    for raw in raws:
        if len(raw) > limits.RECORD_BYTES_MAX:
            raise TooLarge(f"a record has at most {limits.RECORD_BYTES_MAX} bytes, not {len(raw)}")
        needed = len(raw) + _RECORD_OVERHEAD_BYTES
        is_full = len(batch) == limits.RECORDS_PER_FRAME_MAX
        if batch and (is_full or size + needed > limits.FRAME_BYTES_MAX):
            batches.append(tuple(batch))
            batch, size = [], _FRAME_OVERHEAD_BYTES
        batch.append(raw)
        size += needed
    return [*batches, tuple(batch)] if batch else batches
