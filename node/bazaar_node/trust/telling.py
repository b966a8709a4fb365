"""Telling every relay what we found, proofs of forks and of omissions, until each has it."""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from bazaar_host.logs import logger
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.identity import AgentId

WORDS_AT_ONCE: Final = 16
_LATER: Final = ("rate-limited", "storage")

log = logger(__name__)


class Publisher(Protocol):
    """A relay that takes records."""

    async def publish(self, raws: Sequence[bytes]) -> list[str]:
        """Publish records; a status for each. Raises a ``RemoteError``."""
        ...


async def tell_relays(store: EvidenceStore, relays: Mapping[AgentId, Publisher]) -> None:
    """Tell each of the relays what it has not been told yet.

    Raises:
        StorageError: Our store fails us.

    """
    for relay, publisher in relays.items():
        while words := await store.read(partial(_untold, relay)):
            try:
                statuses = await publisher.publish([raw for _, raw in words])
            except RemoteError as error:  # there is always a next time
                log.debug("not told", trouble=str(error))
                break
            done = [
                (id_, relay)
                for (id_, _), status in zip(words, statuses, strict=True)
                if status.partition(":")[0] not in _LATER
            ]
            await store.work(partial(_note_told, done))
            if len(done) < len(words):
                break


def add_word(db: sqlite3.Connection, id_: bytes, raw: bytes) -> None:
    """Have every relay told of a record."""
    db.execute("INSERT OR IGNORE INTO word VALUES (?, ?)", (id_, raw))


def _untold(relay: AgentId, db: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
    return db.execute(
        """SELECT id, raw FROM word WHERE NOT EXISTS
           (SELECT 1 FROM told WHERE told.id = word.id AND relay = ?) LIMIT ?""",
        (relay, WORDS_AT_ONCE),
    ).fetchall()


def _note_told(told: Sequence[tuple[bytes, AgentId]], db: sqlite3.Connection) -> None:
    db.executemany("INSERT OR IGNORE INTO told VALUES (?, ?)", told)
