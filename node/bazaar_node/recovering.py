"""Getting back what an old backup has lost, as far as the relays have it.

The relays say what we signed since the backup was made; it is checked as a chain and put into the
store, with the tasks that it is about. Then a ``reset`` is signed as the next entry. What no relay
could show now and shows up later follows the same entry as that reset, and convicts nobody
(docs/adr/0055). All of it is one transaction: an interrupted recovery has changed nothing.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Final

import msgspec

from bazaar_host.addresses import Address
from bazaar_host.links import Transport
from bazaar_host.surroundings import Surroundings
from bazaar_node.market.events import Change, Logged, Noted
from bazaar_node.market.ledger import Ledger
from bazaar_node.market.turn import Pen, Turn
from bazaar_node.network.calling import Call, call
from bazaar_node.network.own_log import Ahead, Comparison, Covered, Parted, compare
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.settings import NodeSettings
from bazaar_node.storage.store import BACKUP_MARK, NodeStore
from bazaar_node.storage.writing import write_change
from bazaar_protocol import limits
from bazaar_protocol.errors import (
    LinkClosed,
    LogForked,
    MalformedRecord,
    NotFound,
    RemoteError,
    Unreachable,
)
from bazaar_protocol.evidence_kinds import Reset
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import Post
from bazaar_protocol.log import Head, check_segment
from bazaar_protocol.records import Record, RecordId, unseal

REASON: Final = "restored from a backup"
_TRIES: Final = 4
_RETRY_S: Final = 0.5
OpenTransport = Callable[[Keypair], AbstractAsyncContextManager[Transport]]


class Recovered(msgspec.Struct, frozen=True):
    """What a recovery did."""

    backup_seq: int
    """Where our log ended before it."""
    entries: int
    """How many later ones the relays had."""
    tasks: int
    """How many tasks were brought up to date."""
    reset_seq: int
    """Where the log goes on; 0 if nothing had to be done."""
    asked: tuple[str, ...]
    away: dict[str, str]
    """The relays that were not reached, with the reasons."""
    unusable: dict[str, str]
    """Those that hold what was lost before an earlier reset, or whose answers made no sense."""


async def recover(
    node: NodeSettings, open_transport: OpenTransport, surroundings: Surroundings | None = None
) -> Recovered:
    """Bring the log in the store of ``node``, which must not run, up to date.

    A simulation brings its own ``surroundings``.

    Raises:
        KeyFileError: The key cannot be read.
        Unreachable: No relay can be asked.
        NotFound: We have no log, and the relays know none of this key.
        LogForked: Two relays know logs that contradict each other.
        StorageError: The node runs, or its store cannot be written.

    """
    around = surroundings or Surroundings()
    keys = node.keys.read(node.passphrase())
    async with (
        NodeStore.open(node.database_path, around.open_database) as store,
        open_transport(keys) as transport,
    ):
        await store.claim_identity(keys.agent)
        addresses = [*node.relays, *await store.marks()]
        known = [one for one in addresses if Address.parse(one).peer]
        async with call(transport, known, rng=around.rng()) as relays:
            return await _Recovery(store, keys, relays, around).run()


class _Recovery:
    def __init__(self, store: NodeStore, keys: Keypair, relays: Call, around: Surroundings) -> None:
        self._around = around
        self._store = store
        self._keys = keys
        self._relays = relays
        self._unusable: dict[str, str] = {}
        self._sessions: list[RelaySession] = []

    async def run(self) -> Recovered:
        head = await self._store.head()
        before = head.seq
        if head.seq == 1:
            # A genesis alone may be one that a start with an old key made anew, unsent.
            head = Head.empty()
        entries: list[Record] = []
        for session in self._relays.sessions:
            try:
                entries = _longer(entries, await self._later(session, head), session.address)
            except RemoteError as error:
                self._unusable[session.address] = str(error)
        now_ms = self._around.clock.now_ms()
        if not self._sessions:
            raise NotFound(f"no relay gave a sound answer: {self._unusable}")
        if not entries and not head.seq:
            entries = [unseal(raw) for raw in await self._store.log(1, 1)]
            if not entries:
                raise NotFound("no relay that was asked knows a log of this key")
        if not entries and await self._is_settled(head):
            return self._done(before, 0, 0, 0)
        newest = Head.of(entries[-1]) if entries else head
        pen = Pen(self._keys, newest, self._around.entropy)
        changes, count = await self._tasks(entries, pen, now_ms)
        reset = pen.sign(Reset(REASON), now_ms)
        log = [Logged(record) for record in (*entries, reset)]
        await self._store.work(partial(_write, head.seq, [*log, *changes]))
        return self._done(before, newest.seq - before, count, reset.seq)

    def _done(self, before: int, entries: int, tasks: int, reset_seq: int) -> Recovered:
        asked = tuple(session.address for session in self._sessions)
        return Recovered(
            before, entries, tasks, reset_seq, asked, self._relays.away, self._unusable
        )

    async def _is_settled(self, head: Head) -> bool:
        """Tell whether our log ends with a reset already, and nobody says that it is old."""
        if await self._store.backup_ms() is not None:
            return False
        (raw,) = await self._store.log(head.seq, 1)
        return isinstance(unseal(raw).body, Reset)

    async def _later(self, session: RelaySession, head: Head) -> list[Record]:
        """Return what a relay has of our log beyond ``head``.

        Raises:
            RemoteError: It makes no sense, or is of no use.
            LogForked: It contradicts our store.

        """
        found: Comparison
        if head.seq:
            found = await compare(session, self._store, self._keys.agent)
        else:
            raw = await session.head(self._keys.agent)
            found = Covered(0) if raw is None else Ahead(unseal(raw))
        match found:
            case Covered():
                self._sessions.append(session)
                return []
            case Ahead(newest):
                later = await _chain(session, self._keys.agent, head, newest)
                self._sessions.append(session)
                return later
            case Parted(is_lost=True):
                raise MalformedRecord(
                    f"it holds what was lost before entry {found.ours.seq}, where we were reset"
                )
            case Parted():
                raise LogForked(
                    f"relay {session.address} and our store have different entries "
                    f"{found.theirs.seq}: "
                    + (
                        "another copy of this node was restored and went on; use that one"
                        if found.is_overtaken
                        else _TWO_HANDS
                    )
                )

    async def _tasks(
        self, entries: Sequence[Record], pen: Pen, now_ms: int
    ) -> tuple[list[Change], int]:
        """Fold what the relays have of the tasks that are live here or in the later entries."""
        live = await self._store.live()
        ledger = Ledger(live, await self._store.past())
        named = (getattr(record.body, "task", None) for record in entries)
        wanted = dict.fromkeys(
            [*(entry.task.id for entry in live), *(RecordId(task) for task in named if task)]
        )
        changes: list[Change] = []
        count = 0
        for task in wanted:
            turn = Turn(pen, now_ms)
            for records in await self._told(task):
                _fold(ledger, turn, task, records)
            folded = [change for change in turn.changes if not isinstance(change, Noted)]
            changes += folded
            count += bool(folded)
        return changes, count

    async def _told(self, task: RecordId) -> list[list[Record]]:
        """Return what each relay has of a task.

        Raises:
            Unreachable: None could be asked. Without the task we would do again what we have done.

        """
        told: list[list[Record]] = []
        lost: list[str] = []
        for session in self._sessions:
            try:
                told.append(await _ask_for(session, task))
            except (LinkClosed, Unreachable) as error:
                lost.append(str(error))
            except RemoteError:  # another relay may know it
                told.append([])
        if not told:
            reasons = "; ".join(lost)
            raise Unreachable(f"nothing was changed, since the relays were lost: {reasons}")
        return told


async def _ask_for(session: RelaySession, task: RecordId) -> list[Record]:
    """Return what a relay has of a task; when the link breaks it is asked again."""
    for _ in range(_TRIES - 1):
        with suppress(LinkClosed, Unreachable):
            return [unseal(raw) for raw in await session.task(task)]
        await asyncio.sleep(_RETRY_S)  # the session dials meanwhile
    return [unseal(raw) for raw in await session.task(task)]


def _fold(ledger: Ledger, turn: Turn, task: RecordId, records: Iterable[Record]) -> None:
    """Let a task take records in a relay's order; those that it does not take say nothing."""
    if ledger.is_past(task):
        return
    now_ms, at_ms = turn.now_ms, 0
    # A relay may have been told of the award before the post: a log travels ahead of the rest.
    for record in sorted(records, key=lambda record: record.id != task):
        # When we first saw it is lost. What others assert can only make a deadline come earlier
        # than it would from now on, and never one before that of the record in front of it.
        at_ms = turn.now_ms = max(at_ms, min(record.time_ms, now_ms))
        if isinstance(record.body, Post) and record.id == task:
            is_ours = record.author == turn.pen.agent
            ledger.begin(turn, record, "poster" if is_ours else "worker")
            continue
        entry = ledger.get(task)
        if entry is not None and getattr(record.body, "task", None) == task:
            ledger.observe(turn, entry, record)
    turn.now_ms = now_ms


async def _chain(session: RelaySession, agent: AgentId, head: Head, newest: Record) -> list[Record]:
    """Fetch and check the entries after ``head`` up to ``newest``."""
    if newest.author != agent:
        raise MalformedRecord("asked for our log, the relay sent another's")
    entries: list[Record] = []
    while head.seq < newest.seq:
        last = min(head.seq + limits.RECORDS_PER_FRAME_MAX, newest.seq)
        raws = await session.log(agent, head.seq + 1, last)
        part = check_segment(raws, head, author=agent)
        if not part:
            raise MalformedRecord(f"it has entry {newest.seq} of our log, and not {last}")
        entries += part
        head = Head.of(part[-1])
    if head.id != newest.id:
        raise MalformedRecord("the end of our log is not what the relay said before")
    return entries


def _longer(ours: list[Record], theirs: list[Record], address: str) -> list[Record]:
    """Return which of two logs goes further; they have to agree as far as both go.

    Raises:
        LogForked: They do not, and neither was reset there.

    """
    for one, other in zip(ours, theirs, strict=False):
        if one.id == other.id:
            continue
        if isinstance(one.body, Reset):
            return ours
        if isinstance(other.body, Reset):
            return theirs
        raise LogForked(
            f"relay {address} and another one know different entries {one.seq} of our log: "
            f"{_TWO_HANDS}"
        )
    return max(ours, theirs, key=len)


def _write(kept: int, changes: Sequence[Change], db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM log WHERE seq > ?", (kept,))
    for change in changes:
        write_change(db, change)
    db.execute("DELETE FROM meta WHERE name = ?", (BACKUP_MARK,))


_TWO_HANDS: Final = (
    "somebody else signs with this key. If it was stolen, type: "
    "bazaar key recover --recovery-key FILE"
)
