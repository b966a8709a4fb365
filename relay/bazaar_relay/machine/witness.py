"""What a relay that an award names has heard of its worker, and says when the lease is ended.

A relay speaks of what it heard itself and of nothing else. It may have heard the worker a moment
later than the sequencer did, so it waits for its own deadline. It waits for less than a worker may
leave between two heartbeats: else a lease that was ended too early would look like silence, since
its holder stops when it is told.
"""

from dataclasses import dataclass

from bazaar_protocol import limits
from bazaar_protocol.evidence_kinds import Silence
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Breach
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import State, Task, award_of, link_to
from bazaar_relay.machine.bounded import Bounded
from bazaar_relay.machine.own_log import append
from bazaar_relay.machine.state import RelayState
from bazaar_relay.machine.timers import Timer


@dataclass(frozen=True, slots=True)
class _Waiting:
    silence: Silence
    worker: AgentId
    poster: AgentId


class Witness:
    """Confirms that a worker was silent, for awards that rely on this relay."""

    def __init__(self, state: RelayState) -> None:
        self._state = state
        self._heard: Bounded[RecordId, int] = Bounded(limits.TASKS_CACHED_MAX)
        self._waiting: Bounded[RecordId, _Waiting] = Bounded(limits.TASKS_CACHED_MAX)

    def heard(self, task: Task, agent: AgentId, now_ms: int) -> None:
        """Take note of a sign of life that changes nothing: it came too soon, or too late."""
        if task.award is not None and award_of(task.award).worker == agent:
            self._heard.put(task.id, now_ms)
        waiting = self._waiting.get(task.id)
        if waiting is not None and waiting.worker == agent:
            self._drop(task.id)

    def ended(self, record: Record, before: Task, now_ms: int) -> None:
        """Confirm the breach in ``record``, now or soon, if nothing was heard here either.

        ``before`` is the task until then. A worker that still sent heartbeats was not silent, even
        if it has not delivered.
        """
        if not isinstance(record.body, Breach) or before.state is not State.RUNNING:
            return
        assert before.award is not None
        award = award_of(before.award)
        silent_ms = self._silent_ms(before, record.body)
        wait_ms = award.lease.heartbeat_timeout_ms // limits.HEARTBEATS_PER_TIMEOUT_MAX
        if self._state.me not in award.relays or silent_ms > now_ms + wait_ms:
            return
        silence = Silence(before.id, link_to(record), before.epoch)
        self._wait(_Waiting(silence, AgentId(award.worker), before.poster), silent_ms)
        self._state.group.undo.append(lambda: self._drop(before.id))
        if silent_ms <= now_ms:
            self.due(before.id, now_ms)

    def due(self, task: RecordId, now_ms: int) -> None:
        """Sign for a worker that was not heard until now."""
        waiting = self._waiting.pop(task)
        if waiting is not None:
            self._state.timers.cancel(Timer("silence", task))
            # The store may need a moment if it has failed.
            again_ms = now_ms + limits.WAKE_MS
            self._state.group.undo.append(lambda: self._wait(waiting, again_ms))
            append(self._state, waiting.silence, (waiting.worker, waiting.poster), now_ms)

    def _silent_ms(self, task: Task, breach: Breach) -> int:
        """Return from when on the worker counts as silent here."""
        assert task.award is not None
        assert task.deadline_ms is not None
        assert task.close_ms is not None
        timeout_ms = award_of(task.award).lease.heartbeat_timeout_ms
        silent_ms = max(task.deadline_ms, timeout_ms + (self._heard.get(task.id) or 0))
        return silent_ms if breach.deadline == "heartbeat" else max(silent_ms, task.close_ms)

    def _wait(self, waiting: _Waiting, due_ms: int) -> None:
        task = RecordId(waiting.silence.task)
        self._waiting.put(task, waiting)
        self._state.timers.set(Timer("silence", task), due_ms)

    def _drop(self, task: RecordId) -> None:
        self._waiting.pop(task)
        self._state.timers.cancel(Timer("silence", task))
