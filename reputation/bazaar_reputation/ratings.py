"""What raters say about subjects in one role, kept small: a million strands fit into memory.

Agents and variants (capability, version, fingerprint) are numbers. Most pairs of rater and subject
have one strand only, so a pair holds a bare tuple until there is a second one.
"""

from collections.abc import Iterable, KeysView
from typing import Final, TypeAlias

from bazaar_reputation.strands import Tally, left

Strand: TypeAlias = tuple[int, int, float, float, float, float]
"""The variant, and of the tally its round, good and bad, and the older good and bad."""

_Row: TypeAlias = Strand | dict[int, Strand]
_NOTHING: Final[dict[int, _Row]] = {}


def strand_of(variant: int, tally: Tally) -> Strand:
    """Return what has to be kept of a tally."""
    # Nearly always there is nothing older: then all strands share one zero.
    older_good, older_bad = tally.older_good or 0.0, tally.older_bad or 0.0
    return variant, tally.round, tally.good or 0.0, tally.bad or 0.0, older_good, older_bad


def evidence_in(strand: Strand, now: int) -> tuple[float, float]:
    """Return the good and the bad in a strand when the rater's log is at round ``now``."""
    _, since, good, bad, older_good, older_bad = strand
    return left((good, bad, older_good, older_bad), since, now)


class Ratings:
    """The strands of one role, by their subjects and by their raters."""

    __slots__ = ("_of_rater", "_of_subject")

    def __init__(self) -> None:
        self._of_subject: dict[int, dict[int, _Row]] = {}
        self._of_rater: dict[int, list[int]] = {}

    def put(self, subject: int, rater: int, strand: Strand) -> None:
        """Set a strand, in place of what stood there."""
        rows = self._of_subject.setdefault(subject, {})
        row = rows.get(rater)
        if row is None:
            rows[rater] = strand
            self._of_rater.setdefault(rater, []).append(subject)
        elif isinstance(row, dict):
            row[strand[0]] = strand
        elif row[0] == strand[0]:
            rows[rater] = strand
        else:
            rows[rater] = {row[0]: row, strand[0]: strand}

    def drop(self, subject: int, rater: int, variant: int) -> None:
        """Forget a strand, if there is one."""
        rows = self._of_subject.get(subject, _NOTHING)
        row = rows.get(rater)
        if isinstance(row, dict):
            row.pop(variant, None)
            is_empty = not row
        else:
            is_empty = row is not None and row[0] == variant
        if is_empty:
            del rows[rater]
            self._of_rater[rater].remove(subject)

    def raters(self, subject: int) -> KeysView[int]:
        """Return who has rated ``subject``, in no order that means anything."""
        return self._of_subject.get(subject, _NOTHING).keys()

    def subjects(self, rater: int) -> list[int]:
        """Return whom ``rater`` has rated, in no order that means anything."""
        return self._of_rater.get(rater, [])

    def strands(self, subject: int, rater: int) -> Iterable[Strand]:
        """Return what ``rater`` says about ``subject``, in no order that means anything."""
        row = self._of_subject.get(subject, _NOTHING).get(rater)
        if row is None:
            return ()
        return row.values() if isinstance(row, dict) else (row,)
