"""A client that has many requests under way at once, and hears events meanwhile."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from bazaar_host.links import Link
from bazaar_protocol import frames
from bazaar_protocol.frames import Filter, FromRelay, ToRelay, decode_from_relay, encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.records import Record


class Asker:
    """One link to a relay. ``over`` makes it."""

    def __init__(self, link: Link) -> None:
        self.events: asyncio.Queue[frames.Event] = asyncio.Queue()
        self._link = link
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[FromRelay]] = {}

    @classmethod
    @asynccontextmanager
    async def over(cls, link: Link) -> AsyncGenerator[Self]:
        """Ask over ``link``, on which hello was said, inside this block."""
        asker = cls(link)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(asker._listen())
            try:
                yield asker
            finally:
                listening.cancel()

    async def ask(self, kind: Callable[..., ToRelay], *parts: Any) -> FromRelay:
        """Send a request and return its answer."""
        number = next(self._numbers)
        answer: asyncio.Future[FromRelay] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._link.send(pack(encode_frame(kind(number, *parts))))
        return await answer

    async def publish(self, *records: Record) -> None:
        """Publish records, which have to be accepted."""
        answer = await self.ask(frames.Publish, tuple(record.raw for record in records))
        assert isinstance(answer, frames.Published), answer
        assert set(answer.statuses) == {"accepted"}, answer.statuses

    async def subscribe(self, *filters: Filter) -> None:
        """Subscribe from now on; what was before comes too, and is not wanted here."""
        answer = await self.ask(frames.Subscribe, filters, 0)
        assert isinstance(answer, frames.CaughtUp)
        while not self.events.empty():
            self.events.get_nowait()

    async def _listen(self) -> None:
        while True:
            for body in await self._link.receive():
                frame = decode_from_relay(body)
                if isinstance(frame, frames.Event):
                    self.events.put_nowait(frame)
                elif (number := getattr(frame, "request", 0)) in self._answers:
                    self._answers.pop(number).set_result(frame)
                else:
                    raise AssertionError(f"nobody asked for {frame}")
