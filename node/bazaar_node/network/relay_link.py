"""One connection to a relay while it lasts: requests and their answers, events, and its pulse.

``RelaySession`` makes one after each dial. Three tasks do the work. The *reader* takes frames,
hands answers to whoever asked, and queues the rest. The *dispatcher* gives what is queued to the
listener, one after the other. The *pulse* pings when nothing comes.

The queue is bounded. When it is full the reader stops, and so, in the end, does the relay. But the
listener may be waiting for an answer that stands behind those events; so while any request is
under way, the reader goes on until the queue is four times as long. Past that it stops all the
same: then the request runs into its deadline, and the listener goes on.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from bazaar_host.links import Link
from bazaar_node.network.relayed.carrier import Said
from bazaar_node.network.relayed.exchange import LinkNews
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, MalformedRecord, Refused, RemoteError
from bazaar_protocol.framing import pack

Request: TypeAlias = (
    frames.Publish | frames.Query | frames.GetLog | frames.GetHead | frames.GetTask
    | frames.GetInclusion | frames.GetStatement | frames.Claim | frames.Mail | frames.Collect
    | frames.Ping | frames.OpenLink
)  # fmt: skip
Answer: TypeAlias = (
    frames.Published | frames.Adverts | frames.Segment | frames.Included | frames.Stated
    | frames.Claimed | frames.Mailed | frames.Collected | frames.Pong | frames.LinkOpened
)  # fmt: skip
News: TypeAlias = frames.Event | frames.CaughtUp | frames.Letter | frames.Lagged

_ANSWERS: Final[dict[type[Request], type[Answer]]] = {
    frames.Publish: frames.Published,
    frames.Query: frames.Adverts,
    frames.GetLog: frames.Segment,
    frames.GetHead: frames.Segment,
    frames.GetTask: frames.Segment,
    frames.GetInclusion: frames.Included,
    frames.GetStatement: frames.Stated,
    frames.Claim: frames.Claimed,
    frames.Mail: frames.Mailed,
    frames.Collect: frames.Collected,
    frames.Ping: frames.Pong,
    frames.OpenLink: frames.LinkOpened,
}
_QUEUE_STRETCH: Final = 4


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient a session is. The defaults are for networks; tests hurry."""

    request_s: float = limits.REQUEST_TIMEOUT_S
    ping_after_s: float = limits.PING_AFTER_S
    pong_s: float = limits.PONG_TIMEOUT_S
    backoff_first_s: float = limits.BACKOFF_FIRST_S
    backoff_s_max: float = limits.BACKOFF_S_MAX


@dataclass(frozen=True, slots=True)
class Pending:
    """A request under way."""

    number: int
    answer_type: type[Answer]
    answer: asyncio.Future[Answer]


class RelayLink:
    """A link on which the relay has said welcome."""

    def __init__(self, link: Link, timing: Timing, early: list[bytes]) -> None:
        self._link = link
        self._timing = timing
        self._early = early
        self.take_link: Callable[[LinkNews], None] = _ignore
        """Told at once of what concerns relayed links, which do not wait for events."""
        self._number = 0
        self._subscription = 0
        self._pending: dict[int, Pending] = {}
        self._sending = asyncio.Lock()
        self._queue: deque[tuple[News, int]] = deque()
        self._queue_bytes = 0
        self._has_news = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        self._fault: asyncio.Future[None] = loop.create_future()

    async def run(
        self, start: Callable[[], Awaitable[None]], tell: Callable[[News], Awaitable[None]]
    ) -> None:
        """Serve until the connection ends, which always is by an exception.

        Args:
            start: Called before any news are told.
            tell: Given all news in order, one at a time. It is cancelled when the link ends.

        Raises:
            RemoteError: The link ended, the relay broke the protocol or stopped answering, or the
                listener met one of these.

        """
        # No task group: before Python 3.13 one that fails while it is cancelled forgets about the
        # latter, and we would dial again although we were told to end.
        works = (self._read(), self._dispatch(start, tell), self._keep_alive(), self._fails())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._link.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for pending in self._pending.values():
                if not pending.answer.done():
                    pending.answer.set_exception(LinkClosed("the link to the relay ended"))
                    pending.answer.exception()  # a ping's is of no interest to anybody any more
            if not self._fault.cancel() and not self._fault.cancelled():
                self._fault.exception()  # looked at, or asyncio complains that nobody did
        raise _cause(tasks)

    async def request(self, frame: Request) -> Answer:
        """Send ``frame`` under a number of its own and wait for the answer.

        Raises:
            Refused: The relay said no.
            LinkClosed: The link ended, or no answer came in time. It may have been done or not.

        """
        return await self.answer(await self.send(frame))

    async def send(self, frame: Request) -> Pending:
        """Send ``frame`` under a number of its own; ``answer`` is to be called for it."""
        async with self._deadline(), self._sending:
            self._number += 1
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            pending = Pending(self._number, _ANSWERS[type(frame)], future)
            body = frames.encode_frame(msgspec.structs.replace(frame, request=self._number))
            self._pending[pending.number] = pending
            self._settle_reading()
            try:
                await self._link.send(pack(body))
            except BaseException:
                self.forget(pending)
                raise
        return pending

    async def answer(self, pending: Pending) -> Answer:
        """Wait for the answer to what ``send`` has sent; raises like ``request``."""
        try:
            async with self._deadline():
                return await pending.answer
        finally:
            self.forget(pending)

    def forget(self, pending: Pending) -> None:
        """Let an answer that may still come go unheard."""
        self._pending.pop(pending.number, None)
        if not pending.answer.cancel() and not pending.answer.cancelled():
            pending.answer.exception()  # looked at, or asyncio complains that nobody did
        self._settle_reading()

    async def tell(self, frame: Said) -> None:
        """Send a frame that has no answer."""
        async with self._deadline(), self._sending:
            await self._link.send(pack(frames.encode_frame(frame)))

    async def subscribe(self, filters: tuple[frames.Filter, ...], since: int) -> None:
        """Replace the subscription. It is never answered, except by news."""
        async with self._deadline(), self._sending:
            self._number += 1
            body = frames.encode_frame(frames.Subscribe(self._number, filters, since))
            await self._link.send(pack(body))
            self._subscription = self._number

    def fail(self, error: RemoteError) -> None:
        """End the connection, for a fault that only the asker could see in an answer."""
        if not self._fault.done():
            self._fault.set_exception(error)

    async def _fails(self) -> None:
        await self._fault

    @asynccontextmanager
    async def _deadline(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._timing.request_s):
                yield
        except TimeoutError as error:
            raise LinkClosed(
                f"the relay gave no answer for {self._timing.request_s:g} s"
            ) from error

    async def _read(self) -> None:
        self._take(self._early)
        while True:
            self._settle_reading()
            await self._may_read.wait()
            bodies = await self._link.receive()
            self._heard_at = asyncio.get_running_loop().time()
            self._take(bodies)

    def _take(self, bodies: list[bytes]) -> None:
        for body in bodies:
            frame = frames.decode_from_relay(body)
            match frame:
                case frames.Event() | frames.Letter() | frames.Lagged() as news:
                    self._enqueue(news, len(body))
                case frames.CaughtUp(request) as news:
                    if request == self._subscription:  # else of one that was replaced
                        self._enqueue(news, len(body))
                case frames.Error(request, code, reason):
                    self._take_error(request, Refused(code, reason))
                case frames.LinkOpened(request) as opened:
                    if request in self._pending:  # else it ends, since nobody speaks on it
                        self.take_link(opened)
                    self._take_answer(opened)
                case (
                    frames.LinkOffered()
                    | frames.LinkData()
                    | frames.LinkCredit()
                    | frames.CloseLink()
                ):
                    self.take_link(frame)
                case _ if isinstance(frame, Answer):
                    self._take_answer(frame)
                case _:
                    name = type(frame).__name__.lower()
                    raise MalformedRecord(f"a {name}, which nobody asked for")

    def _take_answer(self, answer: Answer) -> None:
        pending = self._pending.get(answer.request)
        if pending is not None and type(answer) is not pending.answer_type:
            name = type(answer).__name__.lower()
            raise MalformedRecord(f"{name} is no answer to request {answer.request}")
        if pending is None:
            self._check_number(answer.request)
        elif not pending.answer.done():
            pending.answer.set_result(answer)

    def _take_error(self, request: int, error: Refused) -> None:
        # About the link, or about what this link is there for: then it is of no use.
        if request in (0, self._subscription):
            raise error
        pending = self._pending.get(request)
        if pending is None:
            self._check_number(request)
        elif not pending.answer.done():
            pending.answer.set_exception(error)

    def _check_number(self, number: int) -> None:
        # Of a number that we gave out, this is an answer for which nobody waits any more.
        if not 0 < number <= self._number:
            raise MalformedRecord(f"an answer to request {number}, which was never sent")

    def _enqueue(self, news: News, size: int) -> None:
        self._queue.append((news, size))
        self._queue_bytes += size
        self._has_news.set()

    async def _dispatch(
        self, start: Callable[[], Awaitable[None]], tell: Callable[[News], Awaitable[None]]
    ) -> None:
        await start()
        while True:
            while self._queue:
                news, size = self._queue.popleft()
                self._queue_bytes -= size
                self._settle_reading()
                await tell(news)
            self._has_news.clear()
            await self._has_news.wait()

    def _settle_reading(self) -> None:
        stretch = _QUEUE_STRETCH if self._pending else 1
        has_room = (
            len(self._queue) < stretch * limits.SESSION_QUEUE_FRAMES_MAX
            and self._queue_bytes < stretch * limits.SESSION_QUEUE_BYTES_MAX
        )
        if has_room:
            self._may_read.set()
        else:
            self._may_read.clear()

    async def _keep_alive(self) -> None:
        while True:
            wait_s = self._timing.ping_after_s - self._quiet_s()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                continue
            pending = await self.send(frames.Ping(0))
            # Any sign of life will do: the pong may stand behind many events.
            await asyncio.wait([pending.answer], timeout=self._timing.pong_s)
            quiet_s = self._quiet_s()
            self.forget(pending)
            if quiet_s >= self._timing.pong_s:
                raise LinkClosed(f"the relay said nothing for {quiet_s:.1f} s")

    def _quiet_s(self) -> float:
        if not self._may_read.is_set():  # then it is we who do not listen
            return 0.0
        return asyncio.get_running_loop().time() - self._heard_at


def _ignore(news: LinkNews) -> None:
    """Let it be: we did not say that we take links."""
    del news


def _cause(tasks: list[asyncio.Task[None]]) -> BaseException:
    """Return the worst of what went wrong at once: a fault of our own before one of the relay."""
    errors = [task.exception() for task in tasks if not task.cancelled()]
    found = [error for error in errors if error is not None]
    ours = [error for error in found if not isinstance(error, RemoteError)]
    return [*ours, *found, LinkClosed("the listener gave up")][0]
