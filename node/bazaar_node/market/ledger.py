"""The tasks that an agent takes part in, each at the state its fold has reached."""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from bazaar_node.market.credit import Credit
from bazaar_node.market.events import Began, Observed, Opened, TaskChanged
from bazaar_node.market.exposure import Exposure
from bazaar_node.market.turn import Turn
from bazaar_protocol import limits
from bazaar_protocol.errors import BazaarError, IllegalTransition, StaleEpoch
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import BidTerms
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import TERMINAL, Elapsed, Task, open_task, step, wake_ms

Role = Literal["poster", "worker"]

FINISHED_TASKS_MAX: Final = 4_096
"""How many finished tasks stay in memory, so that late records about them are recognised."""
_TIMERS_SPARE: Final = 64


@dataclass(slots=True)
class Entry:
    """A task and our part in it."""

    task: Task
    role: Role
    refusals: int = 0
    """How many records about it were refused and noted."""
    results: int = 0
    """How many letters with a result were kept."""
    remarks: int = 0
    """How many disputes and opened commitments were noted."""
    took_ms: int | None = None
    """How long the worker had it until it delivered, by our clock, if we were there."""
    is_disputed: bool = False
    """Whether we have contradicted the verdict."""
    held_back: str = ""
    """Why we award it to nobody, as last told to the owner."""
    invited: set[AgentId] = field(default_factory=set)
    """Whom we have asked for a bid, since this process began."""
    extension: int = 0
    """For which extension of its auction we have asked more of them."""


class Ledger:
    """All tasks in memory. Every change goes through a turn, so that it is durable as well.

    Anyone may offer us tasks. Of those that we do not drive ourselves, only the ones that changed
    last are watched; an older one is set aside with the finished, and is back with its next record.

    Args:
        entries: The tasks that are not over, as the store has them.
        past: All other tasks in the store.
        agent: Who we are.
        credit: What posters hold of ours.

    """

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        past: Iterable[RecordId] = (),
        *,
        agent: AgentId | None = None,
        credit: Credit | None = None,
    ) -> None:
        self._agent = agent
        self.credit = Credit() if credit is None else credit
        """What posters hold of ours that were never fair."""
        self._past = set(past)
        self._live: dict[RecordId, Entry] = {}
        self._finished: OrderedDict[RecordId, Entry] = OrderedDict()
        self._worked: OrderedDict[RecordId, None] = OrderedDict()
        self._due: dict[RecordId, int] = {}
        self.opened: dict[RecordId, BidTerms] = {}
        """Terms of sealed bids that we have opened."""
        self.exposure = Exposure()
        """What others hold of ours."""
        self._timers: list[tuple[int, RecordId]] = []
        for entry in entries:
            self._file(entry)
            self._count(entry, 0)
        for id_ in self._live:
            self._push(id_, 0)

    def get(self, task: RecordId) -> Entry | None:
        """Return a task in memory."""
        return self._live.get(task) or self._finished.get(task)

    def is_past(self, task: RecordId) -> bool:
        """Tell whether we took part in a task of which only this is still known here.

        Its history is in the store, and must not begin a second time.
        """
        return task in self._past and self.get(task) is None

    def live(self, role: Role) -> Iterator[Entry]:
        """Yield the tasks that are not over, oldest first."""
        return (entry for entry in list(self._live.values()) if entry.role == role)

    def involves(self, peer: AgentId) -> bool:
        """Tell whether a task in memory is one that we and ``peer`` have to do with."""
        entries = (*self._live.values(), *self._finished.values())
        return any(
            entry.task.worker == peer
            if entry.role == "poster"
            else peer in (entry.task.poster, entry.task.terms.acceptance.evaluator)
            for entry in entries
        )

    def wake_ms(self) -> int | None:
        """Return when the first task needs a look; None when no task ever does."""
        return self._timers[0][0] if self._timers else None

    def pop_due(self, now_ms: int) -> list[Entry]:
        """Take out the live tasks whose moment has come; each may need a new one then."""
        entries: dict[RecordId, Entry] = {}
        while self._timers and self._timers[0][0] <= now_ms:
            moment, id_ = heapq.heappop(self._timers)
            entry = self._live.get(id_)
            if entry is not None and self._due.get(id_) == moment:
                del self._due[id_]
                entries[id_] = entry
        return list(entries.values())

    def schedule(self, entry: Entry, now_ms: int) -> None:
        """Have the task looked at when its next deadline passes."""
        moment = wake_ms(entry.task, now_ms)
        # One that is due earlier will do: it is scheduled anew after the look.
        if moment is not None and moment < self._due.get(entry.task.id, moment + 1):
            self._push(entry.task.id, moment)

    def look_again(self, entry: Entry, at_ms: int) -> None:
        """Have the task looked at then, if not before."""
        if at_ms < self._due.get(entry.task.id, at_ms + 1):
            self._push(entry.task.id, at_ms)

    def refuse(self, turn: Turn, entry: Entry, record: Record, error: BazaarError) -> None:
        """Note for the owner that a record was refused; anyone can send any number of them."""
        turn.refused.add(record.id)
        if entry.refusals == limits.REFUSALS_NOTED_PER_TASK_MAX:
            return
        entry.refusals += 1
        epoch = getattr(record.body, "epoch", 0)
        turn.note(
            entry.task.id, "refused", f"{record.kind}: {error}",
            agent=record.author, epoch=epoch, record=record.id,
        )  # fmt: skip
        turn.act(TaskChanged(entry.task.id))

    def remark(self, turn: Turn, entry: Entry, record: Record, note: str = "") -> None:
        """Note for the owner what somebody says of a task beside its fold; a few times at most."""
        if entry.remarks == limits.REMARKS_NOTED_PER_TASK_MAX:
            return
        entry.remarks += 1
        turn.note(entry.task.id, record.kind, note, agent=record.author, record=record.id)
        turn.act(TaskChanged(entry.task.id))

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
            self.refuse(turn, entry, record, error)
            return False
        if after is entry.task:
            return False
        is_over = after.state in TERMINAL
        turn.changes.append(Observed(after.id, now_ms, record, after.state, is_over, after.why))
        turn.act(TaskChanged(after.id))
        entry.task = after
        self._file(entry)
        self._count(entry, now_ms)
        self.schedule(entry, now_ms)
        return True

    def bid(self, turn: Turn, entry: Entry, record: Record, terms: BidTerms) -> None:
        """Remember what we bid: an award may name it."""
        self.opened[record.id] = terms
        turn.changes.append(Opened(record.id, bytes(32), terms))
        self.observe(turn, entry, record)

    def _file(self, entry: Entry) -> None:
        task = entry.task
        self.exposure.note(task, entry.role)
        self._worked.pop(task.id, None)
        if task.state in TERMINAL:
            self._set_aside(entry)
            return
        self._finished.pop(task.id, None)
        self._live[task.id] = entry
        if entry.role == "worker":
            self._worked[task.id] = None
        if len(self._worked) > limits.TASKS_WORKED_MAX:
            oldest, _ = self._worked.popitem(last=False)
            self._set_aside(self._live[oldest])

    def _count(self, entry: Entry, now_ms: int) -> None:
        if entry.role == "worker":
            self.credit.note(entry.task, now_ms, is_ours=entry.task.worker == self._agent)

    def _set_aside(self, entry: Entry) -> None:
        id_ = entry.task.id
        self.exposure.forget(id_)
        self._live.pop(id_, None)
        self._due.pop(id_, None)
        self._finished[id_] = entry
        while len(self._finished) > FINISHED_TASKS_MAX:
            gone, old = self._finished.popitem(last=False)
            self._past.add(gone)
            for bid in old.task.bids:
                self.opened.pop(bid.record.id, None)

    def _push(self, id_: RecordId, moment: int) -> None:
        self._due[id_] = moment
        heapq.heappush(self._timers, (moment, id_))
        if len(self._timers) > 2 * len(self._due) + _TIMERS_SPARE:
            self._timers = [(due_ms, task) for task, due_ms in self._due.items()]
            heapq.heapify(self._timers)
