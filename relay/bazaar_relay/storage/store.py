"""What a relay keeps, and the promise under which it keeps it.

Three implementations pass one test suite: ``MemoryStore`` forgets, for simulations and tests;
``SqliteStore`` is the embedded default; ``PostgresStore`` is for several processes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from bazaar_protocol.errors import RemoteError, StorageError
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId, parse

ID_BYTES: Final = 32
FORGOTTEN_MAX: Final = 500
"""How many records, letters, and receipts ``forget`` deletes at a time."""


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A verified record that the relay decided to keep."""

    record: Record
    audience: tuple[AgentId, ...]
    """Whom it is addressed to; what ``Filter.to`` matches."""
    expires_ms: int | None = None
    """When it may be forgotten; None for never (logged kinds and proofs)."""


@dataclass(frozen=True, slots=True)
class NewLetter:
    """A sealed letter to keep until its addressee collects it."""

    to: AgentId
    sealed: bytes
    expires_ms: int
    sender: AgentId | None = None
    """Whose link it came on; None for the relay itself."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an ``intake`` of the relay's covers; kept for the proofs that nodes ask for."""

    intake: RecordId
    first: int
    """Cursor of the first record under it."""
    last: int
    """Cursor of the last one. Between them only records of others are under it."""
    ids: bytes
    """The ids of the records, one after another in the order of their cursors."""
    roots: bytes
    """The roots of the small trees of which ``machine.receipts`` makes the large one."""
    expires_ms: int

    def index_of(self, record: RecordId) -> int | None:
        """Return which of the records ``record`` is; None if it is not under this receipt."""
        start = self.ids.find(record)
        while start % ID_BYTES and start >= 0:  # the end of one id and the beginning of another
            start = self.ids.find(record, start + 1)
        return None if start < 0 else start // ID_BYTES


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction makes durable, all or nothing."""

    records: Sequence[NewRecord] = ()
    routes: Sequence[tuple[RecordId, AgentId]] = ()
    """Further addressees of records that are kept already (a post offered to one more worker)."""
    letters: Sequence[NewLetter] = ()
    collected: Sequence[tuple[AgentId, int]] = ()
    """Letters to forget: whose, and their numbers."""
    receipts: Sequence[Receipt] = ()
    """In the order of their cursors, each beyond all that there are already."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record at its place in the relay's order of arrival."""

    cursor: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a batch."""

    cursors: Sequence[int | None]
    """For each record its new cursor, or None when it was there already."""
    routes: Sequence[Stored | None]
    """For each route the record again, at the cursor under which the addressee finds it.

    That is its earlier one when the record was addressed to it already; None when the record is
    not kept (any more).
    """
    letters: Sequence[int]
    """The numbers that the letters got."""


class Store(Protocol):
    """Records in order of arrival, the heads of logs, and letters.

    Once ``commit`` has returned, what it was given survives a power cut. Reads see everything
    that was committed before they began. Every method may raise ``StorageError``; a failed
    ``commit`` has kept nothing at all.
    """

    name: bytes
    """32 random bytes drawn when the store was made: cursors mean nothing in another store."""

    async def commit(self, batch: Batch) -> Kept:
        """Keep a batch in one transaction; duplicates of kept records are left out, not errors."""
        ...

    async def cursor(self) -> int:
        """Return the newest cursor; 0 for an empty store."""
        ...

    async def heads(self, authors: Sequence[AgentId]) -> Mapping[AgentId, Head]:
        """Return the newest log entry of each author that has one."""
        ...

    async def heads_between(
        self, first: bytes, last: bytes, *, limit: int
    ) -> list[tuple[AgentId, Head]]:
        """Return up to ``limit`` authors from ``first`` to ``last``, in order, with their heads."""
        ...

    async def get(self, record: RecordId) -> bytes | None:
        """Return one record."""
        ...

    async def audience(self, record: RecordId) -> list[AgentId]:
        """Return whom a record is addressed to, by route or at once, in the order of cursors."""
        ...

    async def scan(
        self, filters: Sequence[Filter], *, after: int, limit: int
    ) -> tuple[list[Stored], int]:
        """Return up to ``limit`` matches of any filter beyond ``after``, in order of cursors.

        The second value is the cursor up to which nothing else matches: go on from there. It is
        the newest cursor when the scan reached the end.
        """
        ...

    async def log(self, author: AgentId, *, first: int, last: int, limit: int) -> list[bytes]:
        """Return consecutive log entries of ``author``, oldest first."""
        ...

    async def task(self, task: RecordId, *, after: int, limit: int) -> list[Stored]:
        """Return the post and every record about it, in order of cursors."""
        ...

    async def unexpired(self, kind: str, *, now_ms: int, after: int, limit: int) -> list[Stored]:
        """Return records of ``kind`` that have not expired, in order of cursors: for start-up."""
        ...

    async def letters(self, agent: AgentId) -> list[tuple[int, bytes]]:
        """Return the letters that wait for ``agent``: number and sealed bytes, oldest first."""
        ...

    async def senders(self, agent: AgentId) -> list[AgentId | None]:
        """Return for each letter that waits for ``agent`` who handed it in."""
        ...

    async def against(self, agents: Sequence[AgentId]) -> Mapping[AgentId, list[bytes]]:
        """Return what ended or convicted each agent: proofs, omissions and successions, by cursor.

        They are few, and nobody is left out.
        """
        ...

    async def receipt(self, record: RecordId) -> Receipt | None:
        """Return the receipt that spans the place of ``record``, if one does.

        A record of the relay's own may be in the midst of those under a receipt.
        """
        ...

    async def covered(self) -> int:
        """Return the cursor up to which all that needs a receipt is under one."""
        ...

    async def forget(self, *, now_ms: int) -> int:
        """Delete expired records, letters and receipts, a bounded number; return how many."""
        ...

    async def close(self) -> None:
        """Finish what was begun."""
        ...


def read_record(raw: bytes) -> Record:
    """Return a record that was verified before it was kept.

    Raises:
        StorageError: It is no longer what it was.

    """
    try:
        return parse(raw)[0]
    except RemoteError as error:
        raise StorageError(
            f"a record in the store is damaged ({error}); restore the store from a backup"
        ) from error
