"""When to look at a task again, and what its sequencer has to sign then."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from bazaar_protocol.identity import AgentId
from bazaar_protocol.task_state import ABANDONED_AFTER_MS, SeenBid, State, Task, award_of


@dataclass(frozen=True, slots=True)
class AwardDue:
    """The sequencer should award the task, to one of ``bids`` or to the worker named."""

    bids: tuple[SeenBid, ...]
    worker: AgentId | None


@dataclass(frozen=True, slots=True)
class BreachDue:
    """The sequencer should declare the running attempt over."""

    deadline: Literal["heartbeat", "start_to_close"]


Due: TypeAlias = AwardDue | BreachDue


def due(task: Task, now_ms: int) -> Due | None:
    """Say what the sequencer has to sign now, if anything."""
    match task.state:
        case State.OPEN | State.AWARDED if is_to_be_had(task, now_ms):
            return _award_due(task, now_ms)
        case State.RUNNING:
            assert task.close_ms is not None
            assert task.deadline_ms is not None
            if now_ms >= task.close_ms:
                return BreachDue("start_to_close")
            return BreachDue("heartbeat") if now_ms >= task.deadline_ms else None
        case _:
            return None


def is_to_be_had(task: Task, now_ms: int) -> bool:
    """Tell whether somebody else may be awarded the task: nobody holds it, or not accepted in time.

    An award that was not accepted in time stays good until the next one: who holds it may be late.
    """
    if now_ms >= task.expires_ms:
        return False
    if task.state is State.AWARDED:
        assert task.deadline_ms is not None
        return now_ms >= task.deadline_ms
    return task.state is State.OPEN


def wake_ms(task: Task, now_ms: int) -> int | None:
    """Say when to fold ``Elapsed`` and ask ``due`` next if nothing is heard; None when it is over.

    A moment at which time alone changes the task is told even when it has passed; one that only
    makes something due for the sequencer, which may stay silent, is told once.
    """
    due_ms: tuple[int, ...] = ()
    match task.state:
        case State.OPEN:
            changes_ms, due_ms = task.expires_ms, (task.window_ends_ms,)
        case State.RUNNING:
            assert task.close_ms is not None
            assert task.deadline_ms is not None
            changes_ms = abandoned_ms(task.close_ms, task.deadline_ms)
            due_ms = (task.deadline_ms, task.close_ms)
        case State.AWARDED:
            assert task.deadline_ms is not None
            changes_ms = max(task.deadline_ms, task.expires_ms)
            due_ms = (task.deadline_ms,)
        case State.DELIVERED:
            assert task.deadline_ms is not None
            changes_ms = task.deadline_ms
        case _:
            return None
    return min([changes_ms, *(moment for moment in due_ms if moment > now_ms)])


def abandoned_ms(close_ms: int, deadline_ms: int) -> int:
    """Say when a running attempt, of which nobody says anything more, has failed."""
    return max(close_ms, deadline_ms) + ABANDONED_AFTER_MS


def _award_due(task: Task, now_ms: int) -> AwardDue | None:
    if task.terms.mode == "direct":
        # There is nobody else, and the award that is out will do whenever its worker comes.
        is_out = task.state is State.AWARDED
        return None if is_out else AwardDue((), AgentId(task.terms.worker or b""))
    if task.terms.mode == "auction" and now_ms < task.window_ends_ms:
        return None
    held = award_of(task.award).bid if task.award and task.state is State.AWARDED else b""
    bids = tuple(bid for bid in task.bids if bid.record.id not in {held, *task.spent})
    return AwardDue(bids, None) if bids else None
