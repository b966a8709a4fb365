"""What a node saw of a task, in the order in which it saw it."""

import sqlite3
from dataclasses import dataclass

from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, RecordId, parse


@dataclass(frozen=True, slots=True)
class Row:
    """Something that happened to a task."""

    at_ms: int
    what: str
    agent: AgentId
    epoch: int
    record: Record | None
    is_folded: bool
    """Whether it is part of the task's fold, or only worth telling."""
    note: str


def read_history(task: RecordId, db: sqlite3.Connection) -> list[Row]:
    """Read the history of one task; empty when we have no part in it."""
    rows = db.execute(
        """SELECT at_ms, what, agent, epoch, is_folded, note, raw
           FROM event LEFT JOIN record ON record.id = event.record
           WHERE task = ? ORDER BY event.number""",
        (task,),
    )
    return [
        Row(
            at_ms=at_ms,
            what=what,
            agent=AgentId(agent),
            epoch=epoch,
            # Our own store: what is in it was verified before it came there.
            record=parse(raw)[0] if raw is not None else None,
            is_folded=bool(is_folded),
            note=note,
        )
        for at_ms, what, agent, epoch, is_folded, note, raw in rows
    ]
