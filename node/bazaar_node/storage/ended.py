"""The successions that a node has heard of and checked, each with the genesis that it follows."""

import sqlite3
from functools import partial

from bazaar_node.storage.store import NodeStore
from bazaar_protocol import limits
from bazaar_protocol.evidence_kinds import Succession
from bazaar_protocol.records import Record, parse


async def read_ended(store: NodeStore) -> list[Record]:
    """Return the successions that are kept."""
    rows = await store.read(lambda db: db.execute("SELECT raw FROM ended").fetchall())
    # Our own store: what is in it was verified before it came there.
    return [parse(raw)[0] for (raw,) in rows]


async def write_ended(store: NodeStore, succession: Record, genesis: Record) -> None:
    """Keep a succession, in place of another of the same identity.

    Raises:
        StorageError: It could not be kept.

    """
    await store.work(partial(_write, succession, genesis))


def _write(succession: Record, genesis: Record, db: sqlite3.Connection) -> None:
    assert isinstance(succession.body, Succession)
    db.execute(
        """INSERT INTO ended (old, raw, genesis) VALUES (?, ?, ?)
           ON CONFLICT (old) DO UPDATE SET raw = excluded.raw""",
        (succession.body.old, succession.raw, genesis.raw),
    )
    # Anyone can make identities and end them. The oldest have been heard of longest by the relays.
    db.execute(
        "DELETE FROM ended WHERE number <= (SELECT max(number) FROM ended) - ?",
        (limits.SUCCESSIONS_KEPT_MAX,),
    )
