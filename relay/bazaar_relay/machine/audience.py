"""Whom a record about a task is for. The author is never in its own audience."""

from bazaar_protocol.evidence_kinds import Dispute, Reveal, Silence
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import (
    Accept,
    Award,
    Bid,
    Breach,
    Decline,
    Deliver,
    Heartbeat,
    Verdict,
    Withdraw,
)
from bazaar_protocol.records import Record
from bazaar_protocol.task import Task, award_of


def audience_of(record: Record, task: Task | None, relay: AgentId) -> tuple[AgentId, ...]:
    """Return who has to hear of ``record``, given its task before it.

    Without the task, which this relay may not know, only those whom the record itself names.
    """
    agents = _about(record, task) if task is not None else _named_in(record)
    return tuple(
        AgentId(agent) for agent in dict.fromkeys(agents) if agent not in {record.author, relay}
    )


def _about(record: Record, task: Task) -> list[bytes]:
    worker = [] if task.award is None else [award_of(task.award).worker]
    match record.body:
        case Award(worker=named):
            # Who still holds it is told that it does not any more.
            return [named, task.poster, *([] if task.worker is None else [task.worker])]
        case Deliver():
            evaluator = task.terms.acceptance.evaluator
            judges = [] if evaluator is None else [evaluator]
            return [task.poster, task.terms.sequencer, *judges]
        case Bid() | Decline() | Accept() | Heartbeat():
            return [task.poster, task.terms.sequencer]
        case Verdict() | Breach():
            # Its sequencer may have awarded it to somebody of whom we have not heard.
            return [*worker, *_named_in(record), task.poster]
        case Withdraw():
            return [task.poster, task.terms.sequencer, *worker]
        case Dispute() | Reveal() | Silence():
            return [*_named_in(record), *worker, task.poster]
        case _:
            return []


def _named_in(record: Record) -> list[bytes]:
    match record.body:
        case Award(worker=worker):
            return [worker]
        case Accept(award=link) | Deliver(award=link):
            return [link.author]
        case Verdict(deliver=link) | Breach(accept=link) | Reveal(deliver=link):
            return [link.author]
        case Dispute(verdict=link) | Silence(breach=link):
            return [link.author]
        case Withdraw(award=link) if link is not None:
            return [link.author]
        case _:
            return []
