"""Proofs of work for relays that ask for one before they take anything from us.

A stamp is found by trying, away from the event loop, and is good for the days that the relay says;
so one is looked for at a time, and what was found is kept for as long as it is asked for.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from bazaar_host.logs import logger
from bazaar_protocol import limits
from bazaar_protocol.evidence import find_stamp, stamp_bits
from bazaar_protocol.evidence_kinds import Stamp
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.records import Record, seal
from bazaar_protocol.work_wanted import WorkWanted

SEARCH_S_MAX: Final = 180.0
"""How long one search may take; the next one goes on where it has ended."""
_NUMBERS_AT_ONCE: Final = 2**14
_DAYS_OFF_MAX: Final = 1

log = logger(__name__)


class Stamper:
    """Finds stamps for one identity.

    Args:
        keys: Who we are.
        now_ms: Tells the time.
        bits_max: The most that we do for a relay; each bit doubles the work.

    """

    def __init__(
        self,
        keys: Keypair,
        now_ms: Callable[[], int],
        *,
        bits_max: int = limits.WORK_BITS_DONE_MAX,
    ) -> None:
        self.bits_max = bits_max
        self._keys = keys
        self._now_ms = now_ms
        self._one_at_a_time = asyncio.Lock()
        self._found: dict[AgentId, Record] = {}
        """The newest for each relay; the same bytes each time, so that it is kept once."""
        self._tried: dict[AgentId, tuple[int, int]] = {}
        """For each relay a day, and how many numbers were tried for that."""

    async def stamp(self, relay: AgentId, wanted: WorkWanted) -> bytes | None:
        """Return a stamp that does; None if it is too much, or of no day that we know of."""
        today = self._now_ms() // limits.DAY_MS
        if wanted.bits > self.bits_max or abs(wanted.day - today) > _DAYS_OFF_MAX:
            log.warning(
                "a relay asks for work that is not done",
                bits=wanted.bits, bits_max=self.bits_max, day=wanted.day, today=today,
            )  # fmt: skip
            return None
        try:
            async with asyncio.timeout(SEARCH_S_MAX), self._one_at_a_time:
                return (await self._search(relay, wanted)).raw
        except TimeoutError:
            log.info("the search for a stamp goes on later", bits=wanted.bits)
            return None

    async def _search(self, relay: AgentId, wanted: WorkWanted) -> Record:
        me = self._keys.agent
        known = self._found.get(relay)
        if known is not None and _does(known, wanted):
            return known
        day, start = self._tried.get(relay, (wanted.day, 0))

        def keep_track(number: int) -> None:
            self._tried[relay] = (wanted.day, number)

        found = await search_stamp(
            me,
            wanted,
            relay=relay,
            start=start if day == wanted.day else 0,
            tried=keep_track,
        )
        record = self._found[relay] = seal(self._keys, found, time_ms=self._now_ms())
        return record


async def search_stamp(
    agent: AgentId,
    wanted: WorkWanted,
    *,
    start: int,
    relay: bytes = b"",
    tried: Callable[[int], None] = lambda _: None,
) -> Stamp:
    """Look for a stamp in threads until there is one, or the caller gives up.

    Args:
        agent: Whose identity it stands for.
        wanted: The day and the bits.
        start: The number to begin with.
        relay: For which relay; for everyone if it is empty.
        tried: Told up to which number there is none, so that another search may go on there.

    """
    while True:
        numbers = range(start, start + _NUMBERS_AT_ONCE)
        found = await asyncio.to_thread(
            find_stamp, agent, day=wanted.day, bits=wanted.bits, relay=relay, numbers=numbers
        )
        if found is not None:
            return found
        start = numbers.stop
        tried(start)


def _does(record: Record, wanted: WorkWanted) -> bool:
    stamp = record.body
    assert isinstance(stamp, Stamp)
    return stamp.day == wanted.day and stamp_bits(record.author, stamp) >= wanted.bits
