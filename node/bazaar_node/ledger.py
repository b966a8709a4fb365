"""The tasks that an agent takes part in, each at the state its fold has reached."""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from bazaar_node.events import Began, Observed, Opened, TaskChanged
from bazaar_node.turn import Turn
from bazaar_protocol.errors import IllegalTransition, StaleEpoch
from bazaar_protocol.kinds import BidTerms
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import TERMINAL, Elapsed, Task, open_task, step, wake_ms

Role = Literal["poster", "worker"]

FINISHED_TASKS_MAX: Final = 4_096
"""How many finished tasks stay in memory, so that late records about them are recognised."""


@dataclass(slots=True)
class Entry:
    """A task and our part in it."""

    task: Task
    role: Role


class Ledger:
    """All tasks in memory. Every change goes through a turn, so that it is durable as well."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._live: dict[RecordId, Entry] = {}
        self._finished: OrderedDict[RecordId, Entry] = OrderedDict()
        self.opened: dict[RecordId, BidTerms] = {}
        """Terms of sealed bids that we have opened."""
        self._timers: list[tuple[int, RecordId]] = []
        for entry in entries:
            self._file(entry)
            heapq.heappush(self._timers, (0, entry.task.id))

    def get(self, task: RecordId) -> Entry | None:
        """Return a task in memory."""
        return self._live.get(task) or self._finished.get(task)

    def live(self, role: Role) -> Iterator[Entry]:
        """Yield the tasks that are not over, oldest first."""
        return (entry for entry in list(self._live.values()) if entry.role == role)

    def wake_ms(self) -> int | None:
        """Return when the first task needs a look; None when no task ever does."""
        return self._timers[0][0] if self._timers else None

    def pop_due(self, now_ms: int) -> list[Entry]:
        """Take out the live tasks whose moment has come; each may need a new one then."""
        entries: dict[RecordId, Entry] = {}
        while self._timers and self._timers[0][0] <= now_ms:
            _, id_ = heapq.heappop(self._timers)
            entry = self._live.get(id_)
            if entry is not None:
                entries[id_] = entry
        return list(entries.values())

    def schedule(self, entry: Entry, now_ms: int) -> None:
        """Have the task looked at when its next deadline passes."""
        moment = wake_ms(entry.task, now_ms)
        if moment is not None:
            heapq.heappush(self._timers, (moment, entry.task.id))

    def begin(self, turn: Turn, post: Record, role: Role, command: str = "") -> Entry:
        """Take part in a task.

        Raises:
            MalformedRecord: The post contradicts itself.

        """
        known = self.get(post.id)
        if known is not None:
            return known
        entry = Entry(open_task(post, turn.now_ms), role)
        turn.changes.append(Began(post, role, turn.now_ms, command))
        turn.act(TaskChanged(post.id))
        self._file(entry)
        self.schedule(entry, turn.now_ms)
        return entry

    def observe(
        self, turn: Turn, entry: Entry, record: Record | None, *, at_ms: int | None = None
    ) -> bool:
        """Let the fold take a record, or the passing of time; tell whether anything changed.

        A record that the task refuses is noted for the owner, and changes nothing.
        """
        now_ms = turn.now_ms if at_ms is None else at_ms
        try:
            after = step(entry.task, Elapsed() if record is None else record, now_ms)
        except (StaleEpoch, IllegalTransition) as error:
            assert record is not None
            epoch = getattr(record.body, "epoch", 0)
            turn.note(
                entry.task.id, "refused", f"{record.kind}: {error}",
                agent=record.author, epoch=epoch, record=record.id,
            )  # fmt: skip
            turn.act(TaskChanged(entry.task.id))
            return False
        if after is entry.task:
            return False
        is_over = after.state in TERMINAL
        turn.changes.append(Observed(after.id, now_ms, record, after.state, is_over, after.why))
        turn.act(TaskChanged(after.id))
        entry.task = after
        self._file(entry)
        self.schedule(entry, now_ms)
        return True

    def bid(self, turn: Turn, entry: Entry, record: Record, terms: BidTerms) -> None:
        """Remember what we bid: an award may name it."""
        self.opened[record.id] = terms
        turn.changes.append(Opened(record.id, bytes(32), terms))
        self.observe(turn, entry, record)

    def _file(self, entry: Entry) -> None:
        task = entry.task
        if task.state not in TERMINAL:
            self._live[task.id] = entry
            return
        self._live.pop(task.id, None)
        self._finished[task.id] = entry
        while len(self._finished) > FINISHED_TASKS_MAX:
            _, old = self._finished.popitem(last=False)
            for bid in old.task.bids:
                self.opened.pop(bid.record.id, None)
