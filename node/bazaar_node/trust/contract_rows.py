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

SMALL: Final = 64
"""As many records of one contract are read without asking who signed them."""
_COUNTS: Final = """NOT EXISTS (
    SELECT 1 FROM log_end WHERE old = evidence.author AND evidence.seq > last_seq
)"""
"""What an identity signed after its last honest entry means nothing."""
_ALL: Final = f"SELECT raw FROM evidence WHERE contract = ? AND {_COUNTS} LIMIT {SMALL + 1}"  # noqa: S608
_BY_ONE: Final = f"""SELECT raw FROM evidence
    WHERE contract = ? AND kind = ? AND author = ? AND {_COUNTS}
    ORDER BY seq, id LIMIT {limits.ANSWERS_PER_CONTRACT_MAX}"""  # noqa: S608


def contract_of(db: sqlite3.Connection, record: Record) -> RecordId | None:
    """Return the contract that a record belongs to; None when it belongs to none, or not yet."""
    if isinstance(record.body, Award):
        return record.id
    parent = contracts.parent_of(record)
    if parent is None:
        return None
    row = db.execute("SELECT contract FROM evidence WHERE id = ?", (parent,)).fetchone()
    return None if row is None or row[0] is None else RecordId(row[0])


def attach(db: sqlite3.Connection, record: Record) -> set[RecordId]:
    """Give a record that is kept already, and all that waited for it, its contract.

    Returns:
        The contracts that have to be looked at again.

    """
    contract = contract_of(db, record)
    if contract is None:
        return set()
    _join(db, contract, record.id)
    attach_children(db, contract, record.id)
    return {contract}


def attach_children(db: sqlite3.Connection, contract: RecordId, parent: RecordId) -> None:
    """Give the contract of a record to all that waited for it."""
    waiting = [parent]
    while waiting:
        rows = db.execute(
            "SELECT id FROM evidence WHERE parent = ? AND contract IS NULL", (waiting.pop(),)
        ).fetchall()
        for (child,) in rows:
            _join(db, contract, RecordId(child))
            waiting.append(RecordId(child))


def load(db: sqlite3.Connection, contract: RecordId) -> Contract | None:
    """Return a contract as its records make it; None when there is none, or it is void."""
    parts = [parse(raw)[0] for (raw,) in db.execute(_ALL, (contract,))]
    award = next((one for one in parts if one.id == contract), None)
    if len(parts) > SMALL:
        row = db.execute(
            f"SELECT raw FROM evidence WHERE id = ? AND {_COUNTS}",  # noqa: S608
            (contract,),
        ).fetchone()
        award = None if row is None else parse(row[0])[0]
        parts = [] if award is None else _first_parts(db, award)
    if award is None:
        return None
    made = contracts.begin(award)
    post = records_kept.read(db, made.terms.task)
    if post is not None:
        made = contracts.with_post(made, post)
    for one in parts:
        made = contracts.attach(made, one)
    return made


def _first_parts(db: sqlite3.Connection, award: Record) -> list[Record]:
    """Read of a contract what may count, and nothing of what somebody floods it with."""
    return [
        parse(raw)[0]
        for kind, signers in _signers(award).items()
        for signer in signers
        for (raw,) in db.execute(_BY_ONE, (award.id, kind, signer))
    ]


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
