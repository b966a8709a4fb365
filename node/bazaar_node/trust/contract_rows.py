"""Which records make up a contract, kept up to date in the table of evidence.

A record belongs to the contract of the record that it hangs on; what came before its parent waits
until that is there. Of a contract only those are read who may say something about it, and of what
one of them says the first few, so a flood of signatures costs nothing.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from bazaar_node.trust import records_kept
from bazaar_protocol import limits
from bazaar_protocol.kinds import Award
from bazaar_protocol.records import Record, RecordId, parse
from bazaar_reputation import contracts
from bazaar_reputation.contracts import Contract

_COUNTS: Final = """NOT EXISTS (
    SELECT 1 FROM log_end WHERE old = evidence.author AND evidence.seq > last_seq
)"""
"""What an identity signed after its last honest entry means nothing."""
_BY_ONE: Final = f"""SELECT raw FROM evidence
    WHERE contract = ? AND kind = ? AND author = ? AND {_COUNTS}
    ORDER BY seq, id LIMIT {limits.ANSWERS_PER_CONTRACT_MAX}"""  # noqa: S608


def attach(db: sqlite3.Connection, record: Record) -> set[RecordId]:
    """Give a record that was just kept, and all that waited for it, their contracts.

    Returns:
        The contracts that have to be looked at again.

    """
    if isinstance(record.body, Award):
        db.execute("UPDATE evidence SET contract = ? WHERE id = ?", (record.id, record.id))
        _attach_children(db, record.id, record.id)
        return {record.id}
    parent = contracts.parent_of(record)
    if parent is None:
        return set()
    row = db.execute("SELECT contract FROM evidence WHERE id = ?", (parent,)).fetchone()
    if row is None or row[0] is None:
        return set()
    contract = RecordId(row[0])
    _join(db, contract, record.id)
    _attach_children(db, contract, record.id)
    return {contract}


def load(db: sqlite3.Connection, contract: RecordId) -> Contract | None:
    """Return a contract as its records make it; None when there is none, or it is void."""
    row = db.execute(
        f"SELECT raw, about FROM evidence WHERE id = ? AND {_COUNTS}",  # noqa: S608
        (contract,),
    ).fetchone()
    if row is None:
        return None
    made = contracts.begin(parse(row[0])[0])
    post = records_kept.read(db, row[1])
    if post is not None:
        made = contracts.with_post(made, post)
    for kind, signers in _signers(made.award).items():
        for signer in signers:
            for (raw,) in db.execute(_BY_ONE, (contract, kind, signer)):
                made = contracts.attach(made, parse(raw)[0])
    return made


def contracts_of_task(db: sqlite3.Connection, task: bytes) -> set[RecordId]:
    """Return the contracts about a task: one for each award of it."""
    rows = db.execute("SELECT id FROM evidence WHERE about = ? AND kind = 'award'", (task,))
    return {RecordId(id_) for (id_,) in rows}


def contracts_with(db: sqlite3.Connection, author: bytes, *, after: int) -> set[RecordId]:
    """Return the contracts of which an author signed a part beyond a position of its log."""
    rows = db.execute(
        """SELECT DISTINCT contract FROM evidence
           WHERE author = ? AND seq > ? AND contract IS NOT NULL""",
        (author, after),
    )
    return {RecordId(id_) for (id_,) in rows}


def _attach_children(db: sqlite3.Connection, contract: RecordId, parent: RecordId) -> None:
    waiting = [parent]
    while waiting:
        rows = db.execute(
            "SELECT id FROM evidence WHERE parent = ? AND contract IS NULL", (waiting.pop(),)
        ).fetchall()
        for (child,) in rows:
            _join(db, contract, RecordId(child))
            waiting.append(RecordId(child))


def _join(db: sqlite3.Connection, contract: RecordId, record: RecordId) -> None:
    db.execute("UPDATE evidence SET contract = ? WHERE id = ?", (contract, record))


def _signers(award: Record) -> dict[str, Sequence[bytes]]:
    """Return who may say what about a contract, each thing after what it can hang on."""
    body = award.body
    assert isinstance(body, Award)
    worker = (body.worker,)
    return {
        "accept": worker,
        "deliver": worker,
        "withdraw": worker,
        "breach": (award.author,),
        "verdict": (body.judge,),
        "dispute": worker,
        "reveal": (body.poster,),
        "silence": sorted(set(body.relays)),
    }
