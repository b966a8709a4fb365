"""How each change of a turn is written down."""

import sqlite3
from dataclasses import astuple
from typing import Final, assert_never

from bazaar_node.market.events import (
    Began,
    Change,
    Concluded,
    Logged,
    Noted,
    Observed,
    Opened,
    Outgoing,
    Probed,
    Witnessed,
)
from bazaar_protocol import codec, limits
from bazaar_protocol.kinds import Post
from bazaar_protocol.records import Record


def write_change(db: sqlite3.Connection, change: Change) -> None:
    """Write one change, inside the transaction of its turn."""
    match change:
        case Logged(record):
            db.execute("INSERT INTO log VALUES (?, ?, ?)", (record.seq, record.id, record.raw))
        case Began():
            _begin(db, change)
        case Observed():
            _observe(db, change)
        case Noted():
            _note(db, change)
        case Opened(bid, salt, terms):
            row = (bid, salt, codec.encode(terms))
            db.execute("INSERT OR IGNORE INTO opened VALUES (?, ?, ?)", row)
        case Outgoing(raw, to):
            db.execute("INSERT INTO outbox (recipient, raw) VALUES (?, ?)", (to, raw))
        case Concluded(outcome):
            db.execute(_INSERT_OUTCOME, astuple(outcome))
        case Probed(probe):
            db.execute(_INSERT_PROBE, astuple(probe))
        case Witnessed(record):
            _witness(db, record)
        case _:
            assert_never(change)


def _begin(db: sqlite3.Connection, change: Began) -> None:
    post, at_ms = change.post, change.at_ms
    assert isinstance(post.body, Post)
    _keep(db, post)
    key = post.body.idempotency_key
    db.execute(
        """INSERT INTO task (id, role, command, idempotency_key, state, is_over)
           VALUES (?, ?, ?, ?, 'open', 0)""",
        (post.id, change.role, change.command, key),
    )
    _add_event(db, (post.id, at_ms, post.kind, post.author, 0, post.id, 1, ""))


def _observe(db: sqlite3.Connection, change: Observed) -> None:
    record = change.record
    row: tuple[object, ...]
    db.execute(
        "UPDATE task SET state = ?, is_over = ? WHERE id = ?",
        (change.state, change.is_over, change.task),
    )
    if record is None:
        row = (change.task, change.at_ms, change.state, b"", 0, None, 1, change.note)
    else:
        _keep(db, record)
        epoch = getattr(record.body, "epoch", 0)
        row = (change.task, change.at_ms, record.kind, record.author, epoch, record.id, 1, "")
    _add_event(db, row)


def _note(db: sqlite3.Connection, change: Noted) -> None:
    _add_event(
        db,
        (
            change.task, change.at_ms, change.what, change.agent, change.epoch,
            change.record, 0, change.note,
        ),
    )  # fmt: skip


def _witness(db: sqlite3.Connection, record: Record) -> None:
    """Leave a record to whoever gathers evidence, unless it is known or too many wait already."""
    db.execute(
        """INSERT OR IGNORE INTO witnessed (id, raw) SELECT :id, :raw
           WHERE (SELECT coalesce(max(number) - min(number), 0) FROM witnessed) < :most
           AND NOT EXISTS (SELECT 1 FROM evidence WHERE id = :id)""",
        {"id": record.id, "raw": record.raw, "most": limits.EVIDENCE_WITNESSED_MAX},
    )


def _keep(db: sqlite3.Connection, record: Record) -> None:
    db.execute("INSERT OR IGNORE INTO record (id, raw) VALUES (?, ?)", (record.id, record.raw))


def _add_event(db: sqlite3.Connection, row: tuple[object, ...]) -> None:
    db.execute(
        """INSERT INTO event (task, at_ms, what, agent, epoch, record, is_folded, note)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        row,
    )


# The columns in the order of the fields of each class.
_INSERT_OUTCOME: Final = """
    INSERT OR IGNORE INTO outcome (task, epoch, worker, capability, version, fingerprint, ceiling,
                                   confidence, eta_ms, is_good, took_ms, is_probe)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_PROBE: Final = """
    INSERT OR IGNORE INTO probe (task, canary, worker, price, salt, digest)
    VALUES (?, ?, ?, ?, ?, ?)
"""
