"""Whose turn it is to be read to: a node that asks without end must not keep others waiting.

What the store has been asked cannot be taken back, even if who asked has gone. So an identity has
one read under way, on however many links, the others wait in line for one of few places, and what
the machine itself wants to know waits for those few at most.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from bazaar_protocol.identity import AgentId

T = TypeVar("T")

_AT_ONCE: Final = 2  # one is read while the next is handed over


@dataclass(slots=True)
class _Line:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0
    """How many have their turn or wait for it."""


class Turns:
    """Reads for nodes, a few at a time, and one for each identity."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._lines: dict[AgentId, _Line] = {}
        self._under_way: set[asyncio.Task[Any]] = set()

    async def read(self, peer: AgentId, work: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return what ``work`` returns, once it is the turn of ``peer``.

        Who is cancelled before that has asked for nothing; who is cancelled later keeps the turn
        until the store has answered.
        """
        line = self._lines.setdefault(peer, _Line())
        line.length += 1
        try:
            await line.turn.acquire()
            try:
                await self._places.acquire()
            except BaseException:
                line.turn.release()
                raise
        except BaseException:
            self._leave(peer, line)
            raise
        reading = asyncio.create_task(work())
        self._under_way.add(reading)
        reading.add_done_callback(lambda done: self._finish(peer, line, done))
        return await asyncio.shield(reading)

    def _finish(self, peer: AgentId, line: _Line, reading: asyncio.Task[Any]) -> None:
        self._under_way.discard(reading)
        if not reading.cancelled():
            reading.exception()  # who asked may have gone, and asyncio would complain
        self._places.release()
        line.turn.release()
        self._leave(peer, line)

    def _leave(self, peer: AgentId, line: _Line) -> None:
        line.length -= 1
        if not line.length:
            del self._lines[peer]
