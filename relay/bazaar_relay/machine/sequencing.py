"""The tasks whose posts name this relay as their sequencer: it awards them, and ends leases.

Every grant is an entry of the relay's own log, so one that contradicts another proves itself.
"""

from typing import Final

from bazaar_protocol import award, limits
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Breach, Genesis
from bazaar_protocol.letters import Renewed, encode_letter
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.sealing import seal_to
from bazaar_protocol.task import (
    TERMINAL,
    AwardDue,
    BreachDue,
    Elapsed,
    State,
    Task,
    due,
    is_to_be_had,
    link_to,
    step,
)
from bazaar_relay.machine.own_log import append
from bazaar_relay.machine.state import Answered, RelayState
from bazaar_relay.storage.store import NewLetter

# Beside awards, which count from 1: what a refused claim is told.
_NOT_FOUND: Final = "not-found"
_REFUSED: Final = "refused"
_RATE_LIMITED: Final = "rate-limited"
_TAKEN: Final = "taken"
_EXPIRED: Final = "expired"


class ClaimRefused(Exception):
    """A claim is not granted; it never leaves the machine."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Sequencer:
    """Signs what this relay grants. Nothing leaves before it is durable."""

    def __init__(self, state: RelayState) -> None:
        self._state = state

    def begin_log(self, now_ms: int) -> None:
        """Sign the first entry of the relay's log."""
        append(self._state, Genesis(self._state.recovery), (), now_ms)

    def claim(self, task_id: RecordId, worker: AgentId, answered: Answered, now_ms: int) -> Record:
        """Award a task to ``worker``, or return the award that it holds already.

        An award that was not accepted in time is replaced by the first claim of somebody else; its
        holder may be late, and until then finds it as it was.

        Raises:
            ClaimRefused: Somebody else has it, or it is not to be had here.
            Missing: The store has to be asked about it.

        """
        task = self._state.task(task_id, answered)
        if task is None:
            raise ClaimRefused(_NOT_FOUND, "this relay does not know the task")
        if task.terms.sequencer != self._state.me:
            raise ClaimRefused(_REFUSED, "this relay is not its sequencer")
        if worker == task.poster:
            raise ClaimRefused(_REFUSED, "nobody works for themselves")
        task = self.elapse(task, now_ms)
        if task.worker == worker and task.award is not None and task.state is State.AWARDED:
            return task.award
        if task.state in TERMINAL:
            raise ClaimRefused(_EXPIRED, f"it is {task.state}")
        if not is_to_be_had(task, now_ms):
            raise ClaimRefused(_TAKEN, f"it is {task.state}")
        promises = self._state.promises
        if promises.has_let_go(task.id, worker):
            reason = f"this agent let {limits.AWARDS_LET_GO_MAX} awards of this task go"
            raise ClaimRefused(_REFUSED, reason)
        if promises.has_too_many(worker):
            reason = f"{limits.AWARDS_UNACCEPTED_MAX} awards wait for this agent to accept them"
            raise ClaimRefused(_RATE_LIMITED, reason)
        return self._award(task, worker, now_ms)

    def award_bidder(self, task: Task, now_ms: int) -> None:
        """Award a task that is to be had to the first bidder that may have it.

        An agent that has no link to this relay cannot claim. It signs a bid, which comes as all
        records do.
        """
        if task.terms.sequencer != self._state.me or not is_to_be_had(task, now_ms):
            return
        overdue = due(task, now_ms)
        bids = [bid.record for bid in overdue.bids] if isinstance(overdue, AwardDue) else []
        promises = self._state.promises
        for bid in bids:
            standing = self._state.standings.get(bid.author)
            is_shunned = standing is not None and bool(standing.reason_to_shun)
            lets_go = promises.has_let_go(task.id, bid.author)
            if not (is_shunned or lets_go or promises.has_too_many(bid.author)):
                self._award(task, bid.author, now_ms, bid=bid)
                return

    def elapse(self, task: Task, now_ms: int) -> Task:
        """Let time pass for a task of ours."""
        later = step(task, Elapsed(), now_ms)
        if later is not task:
            self._state.put_task(later, now_ms)
        return later

    def look_at(self, task: Task, now_ms: int) -> None:
        """Do what time makes due: let it expire, or declare a lease over."""
        task = self.elapse(task, now_ms)
        overdue = due(task, now_ms)
        if isinstance(overdue, BreachDue):
            assert task.accept is not None
            assert task.award is not None
            breach = Breach(task.id, link_to(task.accept), task.epoch, overdue.deadline)
            audience = (task.accept.author, task.poster)
            record = append(self._state, breach, audience, now_ms)
            self._state.put_task(step(task, record, now_ms), now_ms)
        else:
            self._state.set_timer(task, now_ms)
            self.award_bidder(task, now_ms)

    def renew(self, task: Task, heartbeat: Record, now_ms: int) -> None:
        """Answer a heartbeat that renewed its lease."""
        content = encode_letter(Renewed(task.id, task.epoch, heartbeat.id))
        entropy = self._state.entropy()
        try:
            sealed = seal_to(heartbeat.author, self._state.keys, content, entropy=entropy)
        except MalformedRecord:
            return  # nobody can write to this key; its owner chose it
        expires_ms = now_ms + task.terms.lease.heartbeat_timeout_ms
        self._state.add_letter(NewLetter(heartbeat.author, sealed, expires_ms))

    def _award(
        self, task: Task, worker: AgentId, now_ms: int, *, bid: Record | None = None
    ) -> Record:
        body = award.draft(
            task.post,
            worker,
            epoch=task.epoch + 1,
            price=task.terms.price,
            bid=b"" if bid is None else bid.id,
            relays=(self._state.me,),
        )
        replaced = () if task.worker is None else (task.worker,)
        record = append(self._state, body, (worker, task.poster, *replaced), now_ms)
        self._state.put_task(step(task, record, now_ms), now_ms)
        return record
