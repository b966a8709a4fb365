"""The ends of logs in order of their authors: what relays that are peers compare."""

import sqlite3
from typing import Final

from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import RecordId

_HEADS: Final = """
    SELECT author, seq, id FROM head WHERE author BETWEEN ? AND ? ORDER BY author LIMIT ?
"""


def heads_between(
    first: bytes, last: bytes, limit: int, db: sqlite3.Connection
) -> list[tuple[AgentId, Head]]:
    """Return up to ``limit`` authors from ``first`` to ``last``, in order, with their heads."""
    rows = db.execute(_HEADS, (first, last, limit))
    return [(AgentId(author), Head(seq, RecordId(head))) for author, seq, head in rows]
