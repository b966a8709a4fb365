"""What the honest of a world have seen, read from what they have made durable."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Any, Final

from bazaar_protocol.identity import AgentId
from bazaar_simulations.world.node_process import NodeProcess

_MS_PER_S: Final = 1_000
_TOOK: Final = """
    SELECT (max(event.at_ms) FILTER (WHERE event.what = 'verdict') - min(event.at_ms))
    FROM task JOIN event ON event.task = task.id
    WHERE task.role = 'poster' AND task.state IN ('accepted', 'rejected') GROUP BY task.id
"""
_ENDS: Final = """
    SELECT iif(ended.what = 'verdict', iif(task.state = 'accepted', 'accepted', 'rejected'),
               ended.what), min(ended.number)
    FROM event AS begun JOIN event AS ended ON ended.task = begun.task
         AND ended.epoch = begun.epoch AND ended.number > begun.number AND ended.is_folded
         AND ended.what IN ('verdict', 'breach', 'withdraw', 'lapsed')
    JOIN task ON task.id = begun.task AND task.role = 'poster'
    WHERE begun.what = 'accept' AND begun.is_folded AND begun.agent = ?
    GROUP BY begun.number
"""
_COMPLAINTS: Final = """
    SELECT count(*) FROM finding JOIN strand ON strand.number = finding.strand
    WHERE strand.subject = ? AND strand.role = 'worker' AND NOT finding.is_good
"""


def conviction(node: NodeProcess, agent: AgentId) -> str:
    """Return what ``node`` holds a proof of against ``agent``; empty for nothing."""
    row = _ask(node, "SELECT claim FROM conviction WHERE agent = ?", agent)
    return str(row[0][0]) if row else ""


def flaws(node: NodeProcess, agent: AgentId) -> set[str]:
    """Return what ``node`` has found wrong with the log of ``agent``, proved or not."""
    return {str(what) for (what,) in _ask(node, "SELECT what FROM flaw WHERE agent = ?", agent)}


def newest_link(node: NodeProcess, agent: AgentId) -> int:
    """Return the latest entry of ``agent`` that a record of another names which ``node`` holds."""
    query = "SELECT max(link_seq) FROM evidence WHERE link_author = ? AND author <> ?"
    rows = _ask(node, query, agent, agent)
    return int(rows[0][0] or 0) if rows else 0


def successor(node: NodeProcess, agent: AgentId) -> AgentId | None:
    """Return who is named to carry on for ``agent``, as far as ``node`` knows."""
    row = _ask(node, "SELECT new FROM log_end WHERE old = ?", agent)
    return AgentId(row[0][0]) if row else None


def outcomes(nodes: Iterable[NodeProcess]) -> Counter[str]:
    """Return how many of the tasks that these have posted stand how."""
    found: Counter[str] = Counter()
    for node in nodes:
        query = "SELECT state, count(*) FROM task WHERE role = 'poster' GROUP BY state"
        found.update(dict(_ask(node, query)))
    return found


def durations_s(nodes: Iterable[NodeProcess]) -> list[float]:
    """Return how long each task took that was judged, shortest first."""
    took = [row[0] / _MS_PER_S for node in nodes for row in _ask(node, _TOOK)]
    return sorted(took)


def median_s(nodes: Iterable[NodeProcess]) -> float:
    """Return how long the median task took that was judged; 0 without any."""
    return median(durations_s(nodes) or [0.0])


def attempts(nodes: Iterable[NodeProcess], worker: AgentId) -> Counter[str]:
    """Return how the attempts of ``worker`` at tasks of these have ended, one word for each."""
    found: Counter[str] = Counter()
    for node in nodes:
        for what, _ in _ask(node, _ENDS, worker):
            found[str(what)] += 1
    return found


def bids(nodes: Iterable[NodeProcess], bidder: AgentId) -> int:
    """Return how many bids of ``bidder`` these have taken."""
    query = "SELECT count(*) FROM event WHERE what = 'bid' AND is_folded AND agent = ?"
    return sum(count for node in nodes for (count,) in _ask(node, query, bidder))


def complaints(node: NodeProcess, subject: AgentId) -> int:
    """Return how many findings against ``subject`` as a worker this node holds."""
    rows = _ask(node, _COMPLAINTS, subject)
    return int(rows[0][0]) if rows else 0


def _ask(node: NodeProcess, query: str, *values: object) -> list[tuple[Any, ...]]:
    db = node.disk.look(node.database)
    if db is None:
        return []
    try:
        return db.execute(query, values).fetchall()
    except sqlite3.OperationalError:  # it has not begun
        return []
