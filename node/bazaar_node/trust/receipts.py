"""A relay's receipts for our log: fetched while it is honest, shown when it is not.

While an entry of ours is under no receipt, the relay is asked for one now and then. When a relay
knows less of our log than it gave its receipt for, it is asked to sign that; the two together are
an omission, which convinces anyone.
"""

import sqlite3
from functools import partial
from typing import Final, Protocol

import msgspec

from bazaar_host.logs import logger
from bazaar_node.trust import telling
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.histories import Circle
from bazaar_node.trust.keeping import News, Way, keep
from bazaar_protocol import evidence, frames
from bazaar_protocol.errors import MalformedRecord, Refused
from bazaar_protocol.evidence_kinds import Omission
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.records import Record, parse, seal, unseal

NOT_YET: Final = "not-found"

log = logger(__name__)


class Witness(Protocol):
    """A relay that can be asked what it answers for. All methods raise a ``RemoteError``."""

    async def inclusion(self, record: bytes) -> frames.Included:
        """Return the receipt for a record, and the way from it to the receipt's root."""
        ...

    async def statement(self, author: bytes) -> bytes:
        """Return what the relay signs of the newest entry that it has of a log."""
        ...


class Receipt(msgspec.Struct, frozen=True):
    """That a relay has had an entry of ours."""

    seq: int
    entry: bytes
    intake: bytes
    index: int
    path: tuple[bytes, ...]


class Receipts:
    """The receipts that we hold, the newest of each relay.

    Args:
        store: Where they are kept.
        keys: Who we are.

    """

    def __init__(self, store: EvidenceStore, keys: Keypair) -> None:
        self._store = store
        self._keys = keys
        self._waiting: dict[AgentId, bytes] = {}
        """Of each relay, the entry that has no receipt yet. It is not exchanged for a newer one
        before it has, or one who always signs something would never get any."""

    async def ask(self, relay: AgentId, witness: Witness) -> bool:
        """Ask a relay for a receipt if our newest entry has none; tell whether there is a new one.

        Raises:
            RemoteError: It does not answer, or not with a receipt.
            StorageError: Our store fails us.

        """
        entry = self._waiting.get(relay) or await self._uncovered(relay)
        if entry is None:
            return False
        self._waiting[relay] = entry
        wanted = parse(entry)[0]
        try:
            included = await witness.inclusion(wanted.id)
        except Refused as refused:
            if refused.prefix == NOT_YET:
                return False
            raise
        intake = unseal(included.intake)
        if intake.author != relay:
            raise MalformedRecord("the receipt is another relay's")
        evidence.check_receipt(intake, wanted.id, included.index, included.path)
        receipt = Receipt(wanted.seq, entry, intake.raw, included.index, included.path)
        await self._store.work(partial(_write, relay, receipt))
        self._waiting.pop(relay, None)
        return True

    async def held(self, relay: AgentId) -> Receipt | None:
        """Return the newest receipt of a relay.

        Raises:
            StorageError: Our store fails us.

        """
        return await self._store.read(partial(_read, relay))

    async def confront(self, relay: AgentId, witness: Witness, known_seq: int) -> Record | None:
        """Have a relay sign that it knows our log up to ``known_seq`` only, if it had more.

        Returns:
            The omission, which all relays will be told of; None when nothing is proved.

        Raises:
            RemoteError: It does not answer, or not with a statement.
            StorageError: Our store fails us.

        """
        receipt = await self.held(relay)
        if receipt is None or receipt.seq <= known_seq:
            return None
        raw = await witness.statement(self._keys.agent)
        statement = unseal(raw)
        stated = evidence.check_statement(statement)
        if (statement.author, stated.author) != (relay, self._keys.agent):
            raise MalformedRecord("the statement is another relay's, or of another log")
        body = Omission(raw, receipt.intake, receipt.entry, receipt.index, receipt.path)
        try:
            evidence.check_omission(body)
        except MalformedRecord as error:
            log.warning("a relay lost entries of our log", trouble=str(error))
            return None
        record = seal(self._keys, body, time_ms=self._store.now_ms())
        way = self._store.way(Circle.OTHER)
        await self._store.change(partial(_keep_omission, record, way))
        return record

    async def _uncovered(self, relay: AgentId) -> bytes | None:
        return await self._store.read(partial(_newest_uncovered, relay))


def _keep_omission(record: Record, way: Way, db: sqlite3.Connection) -> News:
    news = keep(db, [record], way)
    if news.count:
        telling.add_word(db, record.id, record.raw)
        news.has_words = True
    return news


def _newest_uncovered(relay: AgentId, db: sqlite3.Connection) -> bytes | None:
    row = db.execute(
        """SELECT raw FROM log WHERE seq > coalesce((SELECT seq FROM receipt WHERE relay = ?), 0)
           ORDER BY seq DESC LIMIT 1""",
        (relay,),
    ).fetchone()
    return None if row is None else bytes(row[0])


def _write(relay: AgentId, receipt: Receipt, db: sqlite3.Connection) -> None:
    row = (
        relay, receipt.seq, receipt.entry, receipt.intake, receipt.index, b"".join(receipt.path),
    )  # fmt: skip
    db.execute("INSERT OR REPLACE INTO receipt VALUES (?, ?, ?, ?, ?, ?)", row)


def _read(relay: AgentId, db: sqlite3.Connection) -> Receipt | None:
    row = db.execute(
        "SELECT seq, entry, intake, place, path FROM receipt WHERE relay = ?", (relay,)
    ).fetchone()
    if row is None:
        return None
    seq, entry, intake, index, path = row
    hashes = tuple(path[at : at + _HASH_BYTES] for at in range(0, len(path), _HASH_BYTES))
    return Receipt(seq, entry, intake, index, hashes)


_HASH_BYTES: Final = 32
