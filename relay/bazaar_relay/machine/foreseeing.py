"""What the store surely has to be asked before records are decided: one read for all of them."""

from collections.abc import Sequence

from bazaar_protocol.errors import RemoteError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Post
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.machine.events import Read, WorkId
from bazaar_relay.machine.state import Answered, Missing, RelayState
from bazaar_relay.storage.matching import task_of


def foresee(
    state: RelayState,
    outcomes: Sequence[Record | RemoteError],
    answered: Answered,
    *,
    work: WorkId,
    now_ms: int,
) -> Read:
    """Return the read that deciding ``outcomes`` needs; it asks for nothing if none is needed."""
    wanted = _Wanted(state, answered)
    author: AgentId | None = None
    head: Head | None = None
    for record in outcomes:
        if isinstance(record, RemoteError) or record.id in state.recent:
            continue
        if record.author != author:  # mostly a frame holds records of one
            author = record.author
            head = state.heads.get(author)
            wanted.look_at_author(author, now_ms)
        if record.seq:
            wanted.look_at_entry(record, head)
        elif head is None and state.admission.policy.grows:
            wanted.heads[record.author] = None
        wanted.look_at_task(record)
    return Read(
        work,
        tuple(wanted.heads),
        tuple(wanted.tasks),
        tuple(wanted.entries),
        against=tuple(wanted.against),
        stamps=tuple(wanted.stamps),
    )


def leave_task_unknown(state: RelayState, answered: Answered, record: Record) -> None:
    """Decide on a log entry without asking for its task, if nobody here waits for that.

    A log that is pulled is about as many tasks as it has entries. Whoever asks for one of these
    later has it folded from all that is kept by then.
    """
    task = task_of(record)
    if task is not None and state.tasks.get(task) is None and state.router.record(task) is None:
        answered.no_tasks[task] = None


class _Wanted:
    def __init__(self, state: RelayState, answered: Answered) -> None:
        self.heads: dict[AgentId, None] = {}
        self.tasks: dict[RecordId, None] = {}
        self.entries: dict[tuple[AgentId, int], None] = {}
        self.against: dict[AgentId, None] = {}
        self.stamps: dict[AgentId, None] = {}
        self._state = state
        self._answered = answered

    def look_at_author(self, author: AgentId, now_ms: int) -> None:
        try:
            self._state.is_stranger(author, now_ms)
        except Missing as missing:
            if missing.author is not None:
                self.heads[missing.author] = None
            if missing.stamps is not None:
                self.stamps[missing.stamps] = None
        if self._state.standings.get(author) is None:
            self.against[author] = None

    def look_at_entry(self, record: Record, head: Head | None) -> None:
        if head is None:
            self.heads[record.author] = None
        elif record.seq <= head.seq and record.id != head.id:
            place = (record.author, record.seq)
            if place not in self._state.unkept_entries and place not in self._answered.entries:
                self.entries[place] = None

    def look_at_task(self, record: Record) -> None:
        state, task = self._state, task_of(record)
        if task is None or task in self._answered.no_tasks or state.tasks.get(task) is not None:
            return
        if not (isinstance(record.body, Post) and state.recent.is_surely_new(record)):
            self.tasks[task] = None
