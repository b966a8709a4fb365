"""What the records of one contract mean together: the table of what counts for whom, and how much.

``contracts`` finds the records that belong together and calls this; nobody else does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Accept, Award, Deliver, Verdict
from bazaar_protocol.records import Record
from bazaar_reputation.findings import WHOLE, Finding, StrandKey

HasGoneTo: TypeAlias = Callable[[AgentId, int], bool]
"""Whether the log of an agent is known to have reached an entry."""

PATIENCE_ENTRIES: Final = 16
"""How far a log goes on before its author's silence in it means something."""

DISPUTED: Final = 300
UNANSWERED: Final = 700
BREACH: Final = 500
SILENCE: Final = 250
SILENCES_MAX: Final = 2
NO_VERDICT: Final = 500


@dataclass(frozen=True, slots=True)
class Case:
    """The records of a contract that count, each the first of its author's."""

    award: Record
    terms: Award
    accept: Accept
    first: Record | None
    """The first result that the worker signed."""
    deliver: Record | None
    """The result at stake: the one that the verdict is about, or else the first.

    None when there is none, or when the worker signed so many that it is not known which.
    """
    wrong: Record | None
    """A result that has not the hash that the post asked for."""
    has_expected: bool
    """The result at stake has the hash that the post asked for."""
    verdict: Record | None
    dispute: Record | None
    breach: Record | None
    silences: tuple[Record, ...]
    has_withdrawn: bool
    reveal: Record | None
    """It opens the canary of the post."""
    answer: bytes
    """The hash of the right result, as the reveal says; empty without one."""
    is_signed_by_poster: bool

    @property
    def is_rejected(self) -> bool:
        """Tell whether the judge rejected the result."""
        return self.verdict is not None and not _is_accepting(self.verdict)

    @property
    def is_canary_met(self) -> bool:
        """Tell whether the result is the one that the poster knew before."""
        if self.reveal is None or self.deliver is None:
            return False
        assert isinstance(self.deliver.body, Deliver)
        return self.deliver.body.hash == self.answer

    @property
    def missed(self) -> Record | None:
        """Return the reveal, when the result is not the one that the poster knew before.

        Whoever signed too many results to tell gets no benefit of the doubt.
        """
        return None if self.is_canary_met else self.reveal

    @property
    def is_unjust(self) -> bool:
        """Tell whether the judge rejected just what had been asked for.

        A canary says so only of a judge that opened it itself: otherwise a poster could take back
        the word of an honest evaluator.
        """
        is_own = self.terms.judge == self.terms.poster
        return self.is_rejected and (self.has_expected or (is_own and self.is_canary_met))


def judge(case: Case, has_gone_to: HasGoneTo) -> tuple[Finding, ...]:
    """Return what ``case`` says of the worker and of the poster."""
    terms = case.terms
    # Whoever deals with themselves, or judges themselves, has shown nothing.
    if terms.worker in {terms.poster, terms.judge}:
        return ()
    found = (*_judge_worker(case, has_gone_to), *_judge_poster(case, has_gone_to))
    # A worker that sequences its own task may well sign its own breach.
    return tuple(one for one in found if one.strand.rater != one.strand.subject)


def _judge_worker(case: Case, has_gone_to: HasGoneTo) -> Iterator[Finding]:
    if case.wrong is not None:
        # The worker could have seen it before it signed: nobody else's word is needed.
        yield _of_worker(case, case.wrong, -WHOLE, "wrong hash", is_objective=True)
    elif case.is_unjust:
        return
    elif case.verdict is not None and not case.is_rejected:
        yield _of_worker(case, case.verdict, WHOLE, "accepted")
    elif case.verdict is not None:
        yield from _judge_rejection(case, case.verdict, has_gone_to)
    elif case.breach is not None:
        yield _of_worker(case, case.breach, -BREACH, "breach")
        for silence in case.silences[:SILENCES_MAX]:
            yield _of_worker(case, silence, -SILENCE, "silent")
    elif case.missed is not None:
        yield _of_worker(case, case.missed, -WHOLE, "rejected, canary")


def _judge_rejection(case: Case, verdict: Record, has_gone_to: HasGoneTo) -> Iterator[Finding]:
    assert isinstance(verdict.body, Verdict)
    window_ends = verdict.body.deliver.seq + PATIENCE_ENTRIES
    missed = case.missed
    if missed is not None and missed.author == verdict.author:
        yield _of_worker(case, verdict, -WHOLE, "rejected, canary")
        return
    if case.dispute is not None:
        weight, why = DISPUTED, "rejected, disputed"
    elif has_gone_to(AgentId(case.terms.worker), window_ends):
        weight, why = WHOLE, "rejected"
    else:
        weight, why = UNANSWERED, "rejected, no word yet"
    yield _of_worker(case, verdict, -weight, why)
    if missed is not None and weight < WHOLE:
        # The poster adds its own word at its own weight, up to what one job can weigh.
        yield _of_worker(case, missed, weight - WHOLE, "rejected, canary")


def _judge_poster(case: Case, has_gone_to: HasGoneTo) -> Iterator[Finding]:
    """Judge by the worker's word, so each finding is decided by a record of the worker's."""
    result = case.deliver or case.first
    if result is None or not case.is_signed_by_poster:
        return
    if case.is_unjust:
        yield _of_poster(case, result, -WHOLE, "unjust rejection")
    elif case.is_rejected:
        if case.dispute is not None:
            yield _of_poster(case, case.dispute, -DISPUTED, "rejected, disputed")
    elif case.verdict is not None:
        yield _of_poster(case, result, WHOLE, "accepted")
    elif _owes_a_verdict(case) and has_gone_to(
        AgentId(case.terms.poster), case.award.seq + PATIENCE_ENTRIES
    ):
        yield _of_poster(case, result, -NO_VERDICT, "no verdict")


def _owes_a_verdict(case: Case) -> bool:
    """Tell whether the poster's log has to have a verdict in it sooner or later.

    Only an award in the poster's own log says where to count from. A worker may sign a result
    after its lease was over, so one that withdrew or broke its lease is owed nothing.
    """
    is_over = case.breach is not None or case.has_withdrawn or case.missed is not None
    return case.award.author == case.terms.poster and not is_over


def _of_worker(
    case: Case, record: Record, weight: int, why: str, *, is_objective: bool = False
) -> Finding:
    strand = StrandKey(
        "worker",
        AgentId(case.terms.worker),
        None if is_objective else record.author,
        case.terms.capability,
        case.accept.capability_version,
        case.accept.fingerprint,
    )
    return _finding(case, strand, record, (weight, why))


def _of_poster(case: Case, record: Record, weight: int, why: str) -> Finding:
    strand = StrandKey("poster", AgentId(case.terms.poster), record.author, "", 0, b"")
    return _finding(case, strand, record, (weight, why))


def _finding(case: Case, strand: StrandKey, record: Record, word: tuple[int, str]) -> Finding:
    weight, why = word
    return Finding(case.award.id, strand, weight > 0, abs(weight), record.seq // 2, record.id, why)


def _is_accepting(verdict: Record) -> bool:
    assert isinstance(verdict.body, Verdict)
    return verdict.body.accepted
