"""Files of evidence: what one node hands to another, which believes none of it unchecked.

A file is one line that says what it is, then records, each with its length before it. Logs come in
order, so that a run of entries is checked by the signature of the newest.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Literal

from bazaar_host.storage_errors import translated
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.histories import Circle
from bazaar_node.trust.keeping import check_kept
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, RemoteError
from bazaar_protocol.framing import LENGTH_BYTES, pack
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import check_segment
from bazaar_protocol.records import Record, parse, unseal

FIRST_LINE: Final = b"bazaar evidence 1\n"
PAGE: Final = 256
_END: Final = "the file ends"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record of a file that was not taken."""

    number: int
    """Its place in the file, from 1 on."""
    reason: str


@dataclass(slots=True)
class Imported:
    """What became of a file."""

    read: int = 0
    new: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    """The first of those that were refused."""

    def refuse(self, number: int, reason: str) -> None:
        """Count a record that is not taken."""
        self.refused += 1
        if len(self.refusals) < limits.IMPORT_REFUSALS_NAMED_MAX:
            self.refusals.append(Refusal(number, reason))


async def export(store: EvidenceStore, path: Path, agent: AgentId | None = None) -> int:
    """Write evidence to a new file; return how many records there are in it.

    Args:
        store: Where it is.
        path: The file; there must be none of that name.
        agent: Whose log, contracts and proofs; None for everything.

    Raises:
        StorageError: The file exists, cannot be written, or the store cannot be read.

    """
    numbers = await store.read(partial(_choose, agent))
    count = 0
    async with _opened(path, "xb") as file:
        await asyncio.to_thread(file.write, FIRST_LINE)
        for first in range(0, len(numbers), PAGE):
            raws = await store.read(partial(_read_raws, numbers[first : first + PAGE]))
            await asyncio.to_thread(file.write, b"".join(map(pack, raws)))
            count += len(raws)
    return count


async def import_file(store: EvidenceStore, path: Path) -> Imported:
    """Take over the records of a file, each checked; a bad one harms no other.

    Raises:
        ConfigError: It is no file of evidence.
        StorageError: It cannot be read, or what it says cannot be kept.

    """
    imported = Imported()
    async with _opened(path, "rb") as file:
        if await asyncio.to_thread(file.read, len(FIRST_LINE)) != FIRST_LINE:
            raise ConfigError(f"{path} is no file of evidence")
        trouble = ""
        while not trouble:
            raws, trouble = await asyncio.to_thread(_read_page, file)
            await _take(store, raws, imported)
    if trouble != _END:
        imported.refuse(imported.read + 1, trouble)
    return imported


async def _take(store: EvidenceStore, raws: Sequence[bytes], imported: Imported) -> None:
    records, refusals = await asyncio.to_thread(check, raws)
    for index, reason in refusals:
        imported.refuse(imported.read + index + 1, reason)
    imported.read += len(raws)
    imported.new += await store.keep(records, Circle.OTHER, at_once=PAGE)


def _read_page(file: BinaryIO) -> tuple[list[bytes], str]:
    """Read some records; and why nothing comes after them, empty if more may come."""
    raws: list[bytes] = []
    while len(raws) < PAGE:
        head = file.read(LENGTH_BYTES)
        if not head:
            return raws, _END
        length = int.from_bytes(head)
        if len(head) == LENGTH_BYTES and length > limits.RECORD_BYTES_MAX:
            return raws, f"no record has {length} bytes, so nothing can be read from here on"
        raw = file.read(length)
        if len(head) < LENGTH_BYTES or len(raw) < length:
            return raws, "the file ends within it"
        raws.append(raw)
    return raws, ""


def check(raws: Sequence[bytes]) -> tuple[list[Record], list[tuple[int, str]]]:
    """Check records: runs of one log by one signature, and where that fails one by one."""
    records: list[Record] = []
    refusals: list[tuple[int, str]] = []
    for first, run in _runs(raws):
        try:
            if len(run) > 1:
                records += check_segment(run)
                continue
        except RemoteError:
            pass
        for index, raw in enumerate(run, start=first):
            try:
                records.append(check_kept(unseal(raw)))
            except RemoteError as error:
                refusals.append((index, str(error)))
    return records, refusals


def _runs(raws: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Split records into runs of one log, with the index of the first of each."""
    first, run, last = 0, list[bytes](), None
    for index, raw in enumerate(raws):
        try:
            record = parse(raw)[0]
        except RemoteError:
            record = None
        follows = record is not None and last is not None and _follows(record, last)
        if run and not follows:
            yield first, run
            first, run = index, []
        run.append(raw)
        last = record
    if run:
        yield first, run


def _follows(record: Record, last: Record) -> bool:
    is_same_log = record.author == last.author and last.seq > 0
    return is_same_log and record.seq == last.seq + 1 and record.prev == last.id


def _choose(agent: AgentId | None, db: sqlite3.Connection) -> list[int]:
    """Return the numbers of records in the order of a file: logs, and then what is in none."""
    chosen = "TRUE" if agent is None else _ABOUT
    rows = db.execute(
        f"""SELECT number FROM evidence WHERE {chosen}
            ORDER BY seq = 0, author, seq, id""",  # noqa: S608 - one of ours
        {"agent": agent},
    )
    return [number for (number,) in rows]


_ABOUT: Final = """number IN (
    SELECT number FROM evidence WHERE author = :agent
    UNION SELECT other.number FROM evidence AS one JOIN evidence AS other
        ON other.contract = one.contract WHERE one.author = :agent AND one.seq > 0
    UNION SELECT post.number FROM evidence AS one JOIN evidence AS award ON award.id = one.contract
        JOIN evidence AS post ON post.id = award.about WHERE one.author = :agent AND one.seq > 0
    UNION SELECT number FROM conviction JOIN evidence ON id = record WHERE agent = :agent
    UNION SELECT number FROM log_end JOIN evidence ON id = record WHERE :agent IN (old, new)
)"""


def _read_raws(numbers: Sequence[int], db: sqlite3.Connection) -> list[bytes]:
    query = "SELECT raw FROM evidence WHERE number = ?"
    rows = (db.execute(query, (number,)).fetchone() for number in numbers)
    return [row[0] for row in rows if row is not None]  # one may have been forgotten meanwhile


@asynccontextmanager
async def _opened(path: Path, mode: Literal["rb", "xb"]) -> AsyncGenerator[BinaryIO]:
    with translated(path):
        file = await asyncio.to_thread(open, path, mode)
        try:
            yield file
        finally:
            await asyncio.to_thread(file.close)
