"""What to expect of an agent nobody knows: how ego's own first dealings with such agents went.

Such agents come in three admission classes, and each class has a rate of its own: if whitewashers
come in bare, bare newcomers are met with suspicion, and vouched ones are not.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_reputation.findings import Finding

Admission: TypeAlias = Literal["bare", "stamped", "vouched"]
ADMISSIONS: Final[tuple[Admission, ...]] = ("bare", "stamped", "vouched")

_KEPT: Final = 0.98
_LEAST: Final = 0.5
_THOUSAND: Final = 1000


@dataclass(frozen=True, slots=True, order=True)
class Meeting:
    """How ego's dealing with a subject went; the smallest is the first."""

    round: int
    record: RecordId
    contract: RecordId
    subject: AgentId
    is_good: bool
    weight: float

    @classmethod
    def of(cls, finding: Finding) -> "Meeting":
        """Return the meeting that one of ego's own findings tells of."""
        return cls(
            round=finding.round,
            record=finding.record,
            contract=finding.contract,
            subject=finding.strand.subject,
            is_good=finding.is_good,
            weight=abs(finding.weight) / _THOUSAND,
        )


class Rate:
    """A share of good outcomes that forgets, but never so much that one outcome decides."""

    __slots__ = ("_bad", "_good")

    def __init__(self) -> None:
        self._good = 1.0
        self._bad = 1.0

    def note(self, *, is_good: bool, weight: float) -> None:
        """Let what was known fade by one step, and add an outcome."""
        self._good = max(self._good * _KEPT, _LEAST) + (weight if is_good else 0.0)
        self._bad = max(self._bad * _KEPT, _LEAST) + (0.0 if is_good else weight)

    @property
    def share(self) -> float:
        """Return the expected share of good outcomes, between 0 and 1."""
        return self._good / math.fsum((self._good, self._bad))


def first_meetings(
    meetings: Iterable[Meeting], number: Callable[[AgentId], int]
) -> dict[int, Meeting]:
    """Return the first of ``meetings``, which come in their order, with each subject."""
    firsts: dict[int, Meeting] = {}
    for meeting in meetings:
        firsts.setdefault(number(meeting.subject), meeting)
    return firsts


def rates(meetings: Iterable[tuple[Admission, Meeting]]) -> dict[Admission, float]:
    """Return the share of good outcomes of each class, from first meetings in their order."""
    rate: dict[Admission, Rate] = {admission: Rate() for admission in ADMISSIONS}
    for admission, meeting in meetings:
        rate[admission].note(is_good=meeting.is_good, weight=meeting.weight)
    return {admission: rate[admission].share for admission in ADMISSIONS}
