"""Keeping up with the logs of those we deal with, behind whatever else the node does.

Of each author every connected relay is asked for the newest entry, and for more only where there
is news. Those nearer to us come first; the longer nothing has happened between us, the more seldom.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from bazaar_host.logs import logger
from bazaar_node.trust import authors, flaw_rows, records_kept
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.fetching import Fetch, Source
from bazaar_node.trust.histories import Circle, Known, find_flaws
from bazaar_protocol import limits
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import parse

AUTHORS_AT_ONCE: Final = 16
PLACES_PER_SYNC_MAX: Final = 4
RATERS_LOOKED_FOR: Final = 512
BURST: Final = 64
_MINUTE_S: Final = 60.0

Sources = Callable[[], Mapping[AgentId, Source]]
"""The relays that can be asked now, by who they are."""

log = logger(__name__)


class Requests:
    """A budget of requests: some at once, and so many each minute."""

    def __init__(self, per_minute: int = limits.SYNC_REQUESTS_PER_MINUTE_MAX) -> None:
        self.made = 0
        self._interval_s = _MINUTE_S / per_minute
        self._free_at = 0.0
        """When all that was taken is given back."""

    async def take(self) -> None:
        """Wait until one more request may be made."""
        self.made += 1
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + self._interval_s
        surplus_s = self._free_at - now - BURST * self._interval_s
        if surplus_s > 0:
            await asyncio.sleep(surplus_s)


class Syncer:
    """Asks relays for the logs that are wanted.

    Args:
        store: Where they are kept.
        sources: The relays.
        requests: How much may be asked.

    """

    def __init__(
        self, store: EvidenceStore, sources: Sources, requests: Requests | None = None
    ) -> None:
        self.requests = requests or Requests()
        self._store = store
        self._sources = sources

    async def sync_wanted(self) -> int:
        """Ask for some of the logs that are wanted now; return how many there were.

        Raises:
            StorageError: Our store fails us.

        """
        if not self._sources():
            return 0
        due = await self._store.read(
            partial(authors.wanted, now_ms=self._store.now_ms(), limit=AUTHORS_AT_ONCE)
        )
        for agent, circle in due:
            await self.sync(agent, circle)
        return len(due)

    async def sync(self, agent: AgentId, circle: Circle) -> None:
        """Ask every connected relay for the news of one log, and say what is wrong with it.

        Raises:
            StorageError: Our store fails us.

        """
        last = await self._store.read(_last_number)
        answers: dict[AgentId, int] = {}
        is_done = True
        for relay, source in self._sources().items():
            fetch = Fetch(self._store, source, agent, circle, budget=self.requests)
            try:
                await fetch.run()
                places = await self._store.read(partial(_missing_places, agent))
                await fetch.look_at(places)
            except RemoteError as error:
                log.debug("log not fetched", author=agent.hex()[:12], trouble=str(error))
                continue
            is_done &= fetch.is_done
            answers[relay] = fetch.seq
        round_ = _Round(agent, circle, answers, last, self._store.now_ms(), is_done)
        await self._store.work(partial(_conclude, round_))


@dataclass(frozen=True, slots=True)
class _Round:
    agent: AgentId
    circle: Circle
    answers: Mapping[AgentId, int]
    """The newest entry that each relay has."""
    last: int
    """The number of the newest record that we had before they were asked."""
    now_ms: int
    is_done: bool


def _conclude(round_: _Round, db: sqlite3.Connection) -> None:
    """Write down who had how much, what is wrong, and whose logs are wanted because of it."""
    agent, now_ms = round_.agent, round_.now_ms
    db.executemany(
        "INSERT OR REPLACE INTO served VALUES (?, ?, ?, ?)",
        [(agent, relay, seq, now_ms) for relay, seq in round_.answers.items()],
    )
    authors.was_asked(db, agent, now_ms, is_done=round_.is_done or not round_.answers)
    if not round_.answers or not round_.is_done:
        return
    known = authors.read_known(db, agent) or Known()
    named = flaw_rows.read_named(db, agent, up_to=round_.last)
    beyond = authors.read_beyond(db, agent, known)
    flaws = find_flaws(agent, known, named, beyond=beyond)
    flaw_rows.replace_passing(db, agent, flaws, now_ms)
    if round_.circle <= Circle.BIDDER:
        raters = [rater for rater in _raters(db, agent) if authors.read_known(db, rater) is None]
        authors.take_interest(db, raters, Circle.RATER, now_ms)


def _raters(db: sqlite3.Connection, agent: AgentId) -> list[AgentId]:
    """Return whom an author's newest contracts were with."""
    rows = db.execute(
        """SELECT raw FROM evidence WHERE author = ? AND (link_author IS NOT NULL
           OR kind = 'award') ORDER BY seq DESC LIMIT ?""",
        (agent, RATERS_LOOKED_FOR),
    )
    named: dict[AgentId, None] = {}
    for (raw,) in rows:
        named |= dict.fromkeys(records_kept.named_in(parse(raw)[0]))
    named.pop(agent, None)
    return list(named)[: limits.AUTHOR_RATERS_MAX]


def _missing_places(agent: AgentId, db: sqlite3.Connection) -> list[int]:
    """Return some positions at which others' links name an entry that is not the one we have."""
    rows = db.execute(
        """SELECT DISTINCT link_seq FROM evidence
           WHERE link_author = ? AND contract IS NULL
           AND link_seq <= (SELECT whole FROM author WHERE agent = link_author)
           AND NOT EXISTS (SELECT 1 FROM evidence AS there WHERE there.id = evidence.parent)
           ORDER BY number DESC LIMIT ?""",
        (agent, PLACES_PER_SYNC_MAX),
    )
    return [seq for (seq,) in rows]


def _last_number(db: sqlite3.Connection) -> int:
    (number,) = db.execute("SELECT coalesce(max(number), 0) FROM evidence").fetchone()
    return int(number)
