"""The awards of this relay that their workers have not accepted, and those that they let go.

An award holds a task until it is accepted, declined, or replaced because it was not accepted in
time, and costs its worker nothing. So an agent has few at a time, and few of one task: who claims
everything and does nothing keeps nobody else from working for long.
"""

from collections.abc import Sequence

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Accept, Award
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import State, Task
from bazaar_relay.machine.bounded import Bounded


class Promises:
    """Who has been awarded what, and has not said yes to it."""

    def __init__(self) -> None:
        self._open: dict[AgentId, dict[RecordId, None]] = {}
        self._let_go: Bounded[RecordId, dict[AgentId, int]] = Bounded(limits.TASKS_CACHED_MAX)

    def has_too_many(self, worker: AgentId) -> bool:
        """Tell whether ``worker`` has to answer awards before there is another one."""
        return len(self._open.get(worker, ())) >= limits.AWARDS_UNACCEPTED_MAX

    def has_let_go(self, task: RecordId, worker: AgentId) -> bool:
        """Tell whether ``worker`` has had its chances with this task."""
        return (self._let_go.get(task) or {}).get(worker, 0) >= limits.AWARDS_LET_GO_MAX

    def follow(self, before: Task | None, after: Task) -> None:
        """Take note that a task of this relay's has moved on."""
        had, has = _holder(before), _holder(after)
        if had is not None and (had != has or _epoch(before) != after.epoch):
            self._end(after.id, had)
            if after.state is not State.RUNNING:
                self._count(after.id, had, 1)
        if has is not None:
            self._open.setdefault(has, {})[after.id] = None

    def settle(self, task: RecordId) -> None:
        """Take note that a task that is not in memory has moved on: nobody answers for it here."""
        for worker in [agent for agent, waiting in self._open.items() if task in waiting]:
            self._end(task, worker)

    def take_back(self, before: Task | None, after: Task) -> None:
        """Undo ``follow``."""
        had, has = _holder(before), _holder(after)
        if has is not None:
            self._end(after.id, has)
        if had is not None:
            self._open.setdefault(had, {})[after.id] = None
            if (had != has or _epoch(before) != after.epoch) and after.state is not State.RUNNING:
                self._count(after.id, had, -1)

    def learn(self, task: Task, records: Sequence[Record]) -> None:
        """Take in what the store has of a task: awards that no acceptance followed."""
        awarded: dict[int, AgentId] = {}
        for record in records:
            match record.body:
                case Award(epoch=epoch, worker=worker) if record.author == task.terms.sequencer:
                    awarded[epoch] = AgentId(worker)
                case Accept(epoch=epoch) if awarded.get(epoch) == record.author:
                    del awarded[epoch]
                case _:
                    continue
        if task.state is State.AWARDED:
            awarded.pop(task.epoch, None)
        for worker in awarded.values():
            self._count(task.id, worker, 1)

    def _count(self, task: RecordId, worker: AgentId, change: int) -> None:
        counts = self._let_go.get(task) or {}
        self._let_go.put(task, counts | {worker: counts.get(worker, 0) + change})

    def _end(self, task: RecordId, worker: AgentId) -> None:
        waiting = self._open.get(worker, {})
        waiting.pop(task, None)
        if not waiting:
            self._open.pop(worker, None)


def _holder(task: Task | None) -> AgentId | None:
    return None if task is None or task.state is not State.AWARDED else task.worker


def _epoch(task: Task | None) -> int:
    return 0 if task is None else task.epoch
