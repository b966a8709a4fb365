"""What the relay remembers of tasks: the fold over their records, for as long as there is room."""

from collections.abc import Sequence
from dataclasses import replace

from bazaar_protocol.errors import IllegalTransition, RemoteError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Post
from bazaar_protocol.records import Record
from bazaar_protocol.task import State, Task, open_task, step


def fold(records: Sequence[Record], now_ms: int) -> Task | None:
    """Return the task that ``records`` of the store tell of; None if they hold no post.

    The store does not say when they arrived, so the times of their authors stand in, and the
    deadlines begin anew: a sequencer may wait too long, but must never end a lease that its holder
    believes in, and a witness must not speak of a time in which it did not listen.
    """
    task: Task | None = None
    for place, record in enumerate(records):
        at_ms = min(record.time_ms, now_ms)
        try:
            if isinstance(record.body, Post):
                if task is None and place:
                    return fold_late(record, records, now_ms)
                task = task or open_task(record, at_ms)
            elif task is not None:
                task = step(task, record, at_ms)
        except RemoteError:
            continue  # it changed nothing when it arrived either
    return None if task is None else _begin_deadlines_anew(task, now_ms)


def fold_late(post: Record, others: Sequence[Record], now_ms: int) -> Task | None:
    """Return the task of a post that came after records about it, which came in any order.

    A peer's logs are pulled before its posts, and log by log: so what one agent said stands before
    that to which it was the answer.
    """
    try:
        task = open_task(post, min(post.time_ms, now_ms))
    except RemoteError:
        return None
    waiting = [record for record in others if record.id != post.id]
    while waiting:
        left: list[Record] = []
        for record in waiting:
            try:
                task = step(task, record, min(record.time_ms, now_ms))
            except IllegalTransition:
                left.append(record)
            except RemoteError:
                continue
        if len(left) == len(waiting):
            break
        waiting = left
    return _begin_deadlines_anew(task, now_ms)


def may_go_on(record: Record, relay: AgentId, now_ms: int) -> bool:
    """Tell whether a relay may still have to act for a task, by the longest that each step takes.

    A post that nobody can take any more is of no concern to who does not sequence it.
    """
    assert isinstance(record.body, Post)
    terms = record.body
    if terms.sequencer != relay:
        return record.time_ms + terms.expires_in_ms > now_ms
    attempt_ms = terms.lease.schedule_to_start_ms + terms.lease.start_to_close_ms
    lifetime_ms = terms.expires_in_ms + terms.lease.attempts_max * attempt_ms
    return record.time_ms + lifetime_ms + terms.acceptance.verdict_within_ms > now_ms


def _begin_deadlines_anew(task: Task, now_ms: int) -> Task:
    match task.state:
        case State.AWARDED:
            return replace(task, deadline_ms=now_ms + task.terms.lease.schedule_to_start_ms)
        case State.RUNNING:
            return replace(
                task,
                deadline_ms=now_ms + task.terms.lease.heartbeat_timeout_ms,
                close_ms=now_ms + task.terms.lease.start_to_close_ms,
            )
        case State.DELIVERED:
            verdict_ms = now_ms + task.terms.acceptance.verdict_within_ms
            return replace(task, deadline_ms=verdict_ms)
        case _:
            return task
