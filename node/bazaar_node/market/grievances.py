"""Disputes: a worker contradicts a verdict in its own log, where everybody can read it.

A rejection that is left alone counts in full. So a worker that can show it is unjust says so by
itself: its result has the hash that the post expected, or the one that the opened canary names.
"""

from bazaar_node.market.turn import Turn
from bazaar_protocol import limits
from bazaar_protocol.errors import IllegalTransition, MalformedRecord
from bazaar_protocol.evidence import check_reveal
from bazaar_protocol.evidence_kinds import Dispute, Reveal
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Deliver
from bazaar_protocol.normal_form import to_normal
from bazaar_protocol.records import Record
from bazaar_protocol.task import State, Task, link_to

EXPECTED_HASH = "the result has the hash that the post expects"
CANARY_HASH = "the result has the hash that the opened canary names"


def injustice(task: Task, me: AgentId, revealed: Record | None = None) -> str:
    """Return what shows that the rejection of our result is unjust; empty if nothing does.

    Args:
        task: A task that we worked on.
        me: Who we are.
        revealed: The opening of its canary, by the poster, if this is about that.

    """
    if task.state is not State.REJECTED or task.deliver is None or task.deliver.author != me:
        return ""
    delivered = task.deliver.body
    assert isinstance(delivered, Deliver)
    if revealed is not None:
        return CANARY_HASH if _named(task, revealed) == delivered.hash else ""
    is_expected = task.terms.acceptance.expected == delivered.hash
    return EXPECTED_HASH if is_expected else ""


def dispute(turn: Turn, task: Task, reason: str) -> None:
    """Contradict the verdict on our result.

    Raises:
        IllegalTransition: Our result was not rejected.

    """
    is_ours = task.deliver is not None and task.deliver.author == turn.pen.agent
    if task.state is not State.REJECTED or task.verdict is None or not is_ours:
        raise IllegalTransition(task.state, "dispute", "only who was rejected can dispute it")
    reason = to_normal(reason, limits.TEXT_CHARS_MAX)
    record = turn.say(Dispute(task.id, link_to(task.verdict), task.epoch, reason))
    turn.note(task.id, "dispute", reason, epoch=task.epoch, record=record.id)


def _named(task: Task, revealed: Record) -> bytes | None:
    """Return the hash that the poster committed to, if what it reveals is that."""
    body = revealed.body
    if not isinstance(body, Reveal) or task.deliver is None:
        return None
    try:
        check_reveal(task.post, body)
    except MalformedRecord:
        return None
    return body.digest if body.deliver == link_to(task.deliver) else None
