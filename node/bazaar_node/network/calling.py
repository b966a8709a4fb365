"""Short connections to several relays at once, for a command that has a few questions."""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bazaar_host.links import Transport
from bazaar_node.network.relay_session import RelaySession
from bazaar_protocol import frames
from bazaar_protocol.errors import Unreachable

CALL_S: Final = 10.0
"""How long a relay that does not answer is waited for."""


@dataclass(frozen=True, slots=True)
class Call:
    """The relays that answered, and why the others did not."""

    sessions: tuple[RelaySession, ...]
    away: dict[str, str]
    """By address."""


@asynccontextmanager
async def call(
    transport: Transport, addresses: Iterable[str], *, rng: random.Random | None = None
) -> AsyncGenerator[Call]:
    """Be connected to all of these relays that can be reached now.

    Raises:
        Unreachable: None can.

    """
    spread = rng or random.Random()
    callers = [_Caller(transport, address, spread) for address in dict.fromkeys(addresses)]
    running = [asyncio.create_task(caller.session.run()) for caller in callers]
    try:
        await asyncio.gather(*(caller.answered() for caller in callers))
        here = tuple(caller.session for caller in callers if caller.session.is_connected)
        away = {
            caller.session.address: caller.session.last_failure or "it does not answer"
            for caller in callers
            if not caller.session.is_connected
        }
        if not here:
            reasons = "; ".join(f"{address}: {why}" for address, why in away.items())
            raise Unreachable(f"no relay can be asked ({reasons or 'none is known'})")
        yield Call(here, away)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class _Caller:
    """Hears from a relay that it is there, and nothing else, since it subscribes to nothing."""

    def __init__(self, transport: Transport, address: str, rng: random.Random) -> None:
        self.session = RelaySession(transport, address, self, rng=rng)

    async def answered(self) -> None:
        """Wait until the relay is connected or an attempt has failed, but not for ever."""
        try:
            async with asyncio.timeout(CALL_S):
                await self.session.has_tried.wait()
        except TimeoutError:
            return

    async def on_connected(self, session: RelaySession, welcome: frames.Welcome) -> None:
        """Take note that it is there."""
        del welcome
        session.has_tried.set()

    async def on_event(self, session: RelaySession, cursor: int, raw: bytes) -> None:
        """Do nothing: we have not subscribed."""

    async def on_caught_up(self, session: RelaySession, cursor: int) -> None:
        """Do nothing: we have not subscribed."""

    async def on_letter(self, session: RelaySession, number: int, sealed: bytes) -> None:
        """Leave the letter where it is."""

    async def on_lagged(self, session: RelaySession, cursor: int) -> None:
        """Do nothing: we have not subscribed."""

    async def on_disconnected(self, session: RelaySession, reason: str) -> None:
        """Do nothing: whoever asks on it is told."""
