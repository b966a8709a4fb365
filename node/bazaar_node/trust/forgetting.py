"""What a node forgets of others' histories, so that no stranger can fill its disk.

Of one author the oldest entries go first; of all authors, those who are farthest from us and with
whom we had nothing to do for the longest time. Proofs stay.
"""

import sqlite3
from typing import Final

from bazaar_node.trust import contract_rows, records_kept, tallying
from bazaar_node.trust.keeping import News
from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import HEIR_AGREES_AT
from bazaar_protocol.records import RecordId

ENTRIES_AT_ONCE: Final = 512


def find_surplus(db: sqlite3.Connection) -> tuple[AgentId, bool] | None:
    """Return of whom something has to be forgotten, and whether that is everything."""
    row = db.execute(
        "SELECT agent FROM author WHERE circle > 0 AND (entries > ? OR bytes > ?) LIMIT 1",
        (limits.AUTHOR_ENTRIES_MAX, limits.AUTHOR_BYTES_MAX),
    ).fetchone()
    if row is not None:
        return AgentId(row[0]), False
    count, size = db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM author").fetchone()
    if count <= limits.AUTHORS_KEPT_MAX and size <= limits.EVIDENCE_BYTES_MAX:
        return None
    row = db.execute(
        "SELECT agent FROM author WHERE circle > 0 ORDER BY circle DESC, interest_ms LIMIT 1"
    ).fetchone()
    return None if row is None else (AgentId(row[0]), True)


def forget_oldest(
    agent: AgentId, ours: AgentId, db: sqlite3.Connection, *, everything: bool
) -> News:
    """Forget some of the oldest entries of a log, and what was found in them.

    When there are none left and ``everything`` is to go, the author goes as well.
    """
    rows = db.execute(
        """SELECT id, contract, length(raw), seq FROM evidence
           WHERE author = ? AND seq > ? ORDER BY seq, id LIMIT ?""",
        (agent, HEIR_AGREES_AT, ENTRIES_AT_ONCE),
    ).fetchall()
    if everything and len(rows) < ENTRIES_AT_ONCE:
        rows += db.execute(
            """SELECT id, contract, length(raw), seq FROM evidence
               WHERE author = ? AND seq BETWEEN 1 AND ?""",
            (agent, HEIR_AGREES_AT),
        ).fetchall()
        for table in ("served", "flaw", "author"):
            column = "author" if table == "served" else "agent"
            db.execute(f"DELETE FROM {table} WHERE {column} = ?", (agent,))  # noqa: S608
    db.executemany("DELETE FROM evidence WHERE id = ?", [(id_,) for id_, *_ in rows])
    last = max((seq for *_, seq in rows), default=0)
    db.execute(
        """UPDATE author SET entries = entries - ?, bytes = bytes - ?,
           first = CASE WHEN first > 0 AND first <= ? THEN ? ELSE first END WHERE agent = ?""",
        (len(rows), sum(size for _, _, size, _ in rows), last, last + 1, agent),
    )
    touched = {RecordId(contract) for _, contract, *_ in rows if contract is not None}
    for contract in touched:
        _attach_again(db, contract)
    settled = tallying.settle(db, touched)
    return News(
        tallies=settled.tallies,
        met=[one for one in settled.added if one.strand.rater == ours],
        unmet=[one for one in settled.dropped if one.strand.rater == ours],
    )


def _attach_again(db: sqlite3.Connection, contract: RecordId) -> None:
    """Leave in a contract only what still hangs together."""
    db.execute("UPDATE evidence SET contract = NULL WHERE contract = ?", (contract,))
    award = records_kept.read(db, contract)
    if award is not None:
        contract_rows.attach(db, award)
