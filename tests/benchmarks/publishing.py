"""Publishing as fast as a relay answers, with nothing left to compute while the time is taken."""

import itertools
import os
from collections import deque
from collections.abc import Sequence
from typing import Final

from tests.market_records import Trader
from tests.relay_client import Client

from bazaar_host import clock
from bazaar_protocol import frames
from bazaar_protocol.frames import decode_from_relay, encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair

RECORDS_PER_FRAME: Final = 32
WINDOW: Final = 8
"""Frames that a publisher sends before it waits for the answer to the first of them."""
_requests = itertools.count(1_000_000)


def publishes(raws: Sequence[bytes]) -> list[bytes]:
    """Return the frames that publish ``raws``, ready to be sent."""
    return [
        pack(
            encode_frame(
                frames.Publish(next(_requests), tuple(raws[first : first + RECORDS_PER_FRAME]))
            )
        )
        for first in range(0, len(raws), RECORDS_PER_FRAME)
    ]


async def send(client: Client, packed: Sequence[bytes], *, expect: str = "accepted") -> None:
    """Send frames that publish, some under way at a time, until all are answered."""
    link, waiting = client.link, deque(packed)
    under_way = 0
    while waiting or under_way:
        while waiting and under_way < WINDOW:
            await link.send(waiting.popleft())
            under_way += 1
        for body in await link.receive():
            answer = decode_from_relay(body)
            assert isinstance(answer, frames.Published), answer
            assert set(answer.statuses) == {expect}, answer.statuses
            under_way -= 1


def new_author() -> Trader:
    """Return an author that nobody has heard of."""
    return Trader(Keypair(os.urandom(32)), clock.now_ms())


def log_entries(length: int, author: Trader | None = None) -> list[bytes]:
    """Return a new log."""
    author = author or new_author()
    return [author.genesis().raw, *(author.intake(number).raw for number in range(length - 1))]
