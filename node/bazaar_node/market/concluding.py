"""What to remember of an attempt at a task of ours that has come to its end."""

from bazaar_node.market.events import Concluded
from bazaar_node.market.experience import Experience, Outcome
from bazaar_node.market.ledger import Entry
from bazaar_node.market.turn import Turn
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Accept, BidTerms
from bazaar_protocol.task import Task, award_of


def note_delivery(entry: Entry, before: Task, now_ms: int) -> None:
    """Remember how long the worker took, by our clock; ``before`` is the task as it still ran."""
    entry.took_ms = _ran_ms(before, now_ms)


def conclude(
    turn: Turn,
    entry: Entry,
    before: Task,
    *,
    experience: Experience,
    promised: BidTerms | None,
    is_good: bool,
    is_probe: bool,
) -> None:
    """Remember what came of the attempt that ``before`` was at, beside what was ``promised``."""
    if before.award is None or before.accept is None:
        return
    award, accept = award_of(before.award), before.accept.body
    assert isinstance(accept, Accept)
    took_ms = entry.took_ms if before.deliver is not None else _ran_ms(before, turn.now_ms)
    if took_ms is None:  # we were not there when it came: then by the worker's own clock
        end_ms = before.accept.time_ms if before.deliver is None else before.deliver.time_ms
        took_ms = max(end_ms - before.accept.time_ms, 0)
    outcome = Outcome(
        task=before.id,
        epoch=award.epoch,
        worker=AgentId(award.worker),
        capability=award.capability,
        version=accept.capability_version,
        fingerprint=accept.fingerprint,
        ceiling=before.terms.price,
        confidence=None if promised is None else promised.confidence,
        eta_ms=None if promised is None else promised.eta_ms,
        is_good=is_good,
        took_ms=took_ms,
        is_probe=is_probe,
    )
    entry.took_ms = None
    experience.add(outcome, turn.now_ms)
    turn.changes.append(Concluded(outcome))


def _ran_ms(before: Task, now_ms: int) -> int | None:
    if before.close_ms is None:
        return None
    return max(now_ms - (before.close_ms - before.terms.lease.start_to_close_ms), 0)
