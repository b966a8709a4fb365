"""What is looked at after each transaction of a node."""

import sqlite3
from typing import Final

from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Award, Deliver
from bazaar_protocol.records import RecordId, unseal
from bazaar_simulations.world.attempts import Attempts, Taken
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.journal import short
from bazaar_simulations.world.known_records import KnownRecords
from bazaar_simulations.world.node_process import NodeProcess

_NEWEST: Final = """
    SELECT (SELECT coalesce(max(seq), 0) FROM log), (SELECT coalesce(max(number), 0) FROM event),
           (SELECT coalesce(max(number), 0) FROM evidence)
"""
_EVENTS: Final = """
    SELECT event.number, event.task, event.what, event.agent, event.epoch, event.is_folded,
           record.raw
    FROM event LEFT JOIN record ON record.id = event.record WHERE event.number > ?
"""


_JUDGED: Final = """
    SELECT task.id, task.state, record.raw
    FROM task JOIN event ON event.task = task.id AND event.what = 'award' AND event.is_folded
    JOIN record ON record.id = event.record
    WHERE task.role = 'poster' AND task.state IN ('accepted', 'rejected')
    GROUP BY task.id HAVING event.number = max(event.number)
"""


_ACCEPTED: Final = """
    SELECT task.id, record.raw
    FROM task JOIN event ON event.task = task.id AND event.what = 'deliver' AND event.is_folded
    JOIN record ON record.id = event.record
    WHERE task.role = 'poster' AND task.state = 'accepted'
    GROUP BY task.id HAVING event.number = max(event.number)
"""


class NodeWatch:
    """Follows what a node makes durable."""

    def __init__(self, node: NodeProcess, known: KnownRecords) -> None:
        self.node = node
        self.durable: set[RecordId] = set()
        """Every entry of its log that was ever durable."""
        self._known = known
        self._log = self._event = self._evidence = 0
        self._is_new = True
        self._attempts = Attempts(node.name, node.keys.agent)

    def look(self) -> None:
        """Look at what is new.

        Raises:
            BrokenInvariant: It must not be.

        """
        db = self.node.disk.look(self.node.database)
        if db is None or not _has_tables(db):
            return
        log, event, evidence = db.execute(_NEWEST).fetchone()
        if log > self._log:
            self._look_at_log(db)
        if event > self._event:
            self._look_at_events(db)
        if evidence > self._evidence:
            self._look_at_evidence(db)

    def look_back(self) -> None:
        """Begin anew with a copy that was put in place of the store."""
        self._log = self._event = self._evidence = 0
        self._attempts = Attempts(self.node.name, self.node.keys.agent)
        self._is_new = False
        self.look()
        self._is_new = True

    def _look_at_evidence(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT number, raw FROM evidence WHERE number > ?", (self._evidence,))
        for self._evidence, raw in rows.fetchall():
            self._known.take(raw, self.node.name)

    def _look_at_log(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT seq, raw FROM log WHERE seq > ? ORDER BY seq", (self._log,))
        for seq, raw in rows.fetchall():
            record = self._known.take(raw, self.node.name)
            if self._is_new:
                self.node.note(f"logs {seq} {record.kind} {short(record.id)}")
            self.durable.add(record.id)
            self._log = seq

    def _look_at_events(self, db: sqlite3.Connection) -> None:
        for number, task, what, agent, epoch, is_folded, raw in db.execute(_EVENTS, (self._event,)):
            self._event = number
            worker = b""
            if raw is not None:
                body = self._known.take(raw, self.node.name).body
                worker = body.worker if isinstance(body, Award) else b""
            if self._is_new:
                self.node.note(f"{'takes' if is_folded else 'notes'} {what} {short(task)} {epoch}")
            if is_folded:
                is_live = self._is_new and not self.node.is_recovering
                self._attempts.take(Taken(task, what, epoch, agent, worker, is_live))


def check_terminal(nodes: list[NodeProcess]) -> None:
    """Check that every task that was posted has come to an end, and none was forgotten.

    Raises:
        BrokenInvariant: One has not.

    """
    for node in nodes:
        known = states_of(node)
        for task in node.posted:
            if task not in known:
                raise BrokenInvariant(
                    "what was acknowledged is never lost", f"{node.name} forgot task {short(task)}"
                )
        for task, (role, state, is_over) in known.items():
            if role == "poster" and not is_over:
                raise BrokenInvariant(
                    "every task comes to an end",
                    f"task {short(task)} of {node.name} is still {state}",
                )


def check_results(nodes: list[NodeProcess]) -> None:
    """Check that only right results were accepted.

    Raises:
        BrokenInvariant: One was not.

    """
    for node in nodes:
        db = node.disk.look(node.database)
        for task, raw in [] if db is None else db.execute(_ACCEPTED):
            deliver = unseal(raw).body
            assert isinstance(deliver, Deliver)
            if deliver.hash.hex() != node.wanted.get(task, deliver.hash.hex()):
                raise BrokenInvariant(
                    "only right results are accepted", f"{node.name}: task {short(task)}"
                )


def check_agreement(nodes: list[NodeProcess]) -> None:
    """Check that a worker knows of each verdict on its work.

    Raises:
        BrokenInvariant: It holds that the task is not over, or ended in another way.

    """
    by_agent = {node.keys.agent: node for node in nodes}
    for node in nodes:
        db = node.disk.look(node.database)
        judged = [] if db is None else db.execute(_JUDGED).fetchall()
        for task, state, raw in judged:
            award = unseal(raw).body
            assert isinstance(award, Award)
            worker = by_agent.get(AgentId(award.worker))
            known = None if worker is None else states_of(worker).get(task)
            if worker is not None and known is not None and known[1] != state:
                raise BrokenInvariant(
                    "poster and worker agree in the end",
                    f"task {short(task)} is {state} for {node.name}, {known[1]} for {worker.name}",
                )


def states_of(node: NodeProcess) -> dict[bytes, tuple[str, str, bool]]:
    """Return role and state of each task that a node knows, and whether it is over."""
    db = node.disk.look(node.database)
    if db is None or not _has_tables(db):
        return {}
    rows = db.execute("SELECT id, role, state, is_over FROM task").fetchall()
    return {task: (role, state, bool(is_over)) for task, role, state, is_over in rows}


def _has_tables(db: sqlite3.Connection) -> bool:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return bool(version)
