"""A raw client of a relay: frames in, frames out, nothing hidden."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from bazaar_host.links import Link
from bazaar_protocol import frames
from bazaar_protocol.frames import Filter, FromRelay, ToRelay, decode_from_relay, encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.records import Record

F = TypeVar("F")


class Client:
    """One link; what arrives and is not waited for is kept for later."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.arrived: list[FromRelay] = []
        self._numbers = itertools.count(1)

    async def send(self, frame: ToRelay) -> None:
        await self.link.send(pack(encode_frame(frame)))

    async def next(self, kind: type[F], wanted: Callable[[Any], bool] = lambda _: True) -> F:
        """Return the first frame of ``kind`` that is wanted; it is then gone."""
        async with asyncio.timeout(10):
            while True:
                for place, frame in enumerate(self.arrived):
                    if isinstance(frame, kind) and wanted(frame):
                        del self.arrived[place]
                        return frame
                self.arrived += map(decode_from_relay, await self.link.receive())

    async def ask(self, kind: Callable[..., ToRelay], *parts: Any) -> Any:
        """Send a request and return its answer."""
        number = next(self._numbers)
        await self.send(kind(number, *parts))
        return await self.next(object, lambda frame: getattr(frame, "request", None) == number)

    async def hello(self) -> frames.Welcome:
        await self.send(frames.Hello(frames.VERSION, "test", ()))
        return await self.next(frames.Welcome)

    async def publish(self, *records: Record) -> tuple[str, ...]:
        return await self.publish_raw(*(record.raw for record in records))

    async def publish_raw(self, *raws: bytes) -> tuple[str, ...]:
        answer = await self.ask(frames.Publish, raws)
        assert isinstance(answer, frames.Published)
        return answer.statuses

    async def subscribe(self, *filters: Filter, since: int = 0) -> int:
        """Subscribe and return where the replay ended; its events are kept."""
        answer = await self.ask(frames.Subscribe, filters, since)
        assert isinstance(answer, frames.CaughtUp)
        return answer.cursor

    async def event(self) -> frames.Event:
        return await self.next(frames.Event)

    async def events(self, count: int) -> list[bytes]:
        return [(await self.event()).record for _ in range(count)]

    def drain(self) -> list[bytes]:
        """Return the events that have arrived already."""
        events = [frame.record for frame in self.arrived if isinstance(frame, frames.Event)]
        self.arrived = [frame for frame in self.arrived if not isinstance(frame, frames.Event)]
        return events
