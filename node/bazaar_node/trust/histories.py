"""What is held of one author's log, and what is wrong with it. Pure.

A log is held as one unbroken run, which grows at its end, and single entries beyond it that
somebody showed us. What the run has not reached is missing; what others' links name, and nobody
has, is cut off.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Literal, TypeAlias

from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record

FlawName: TypeAlias = Literal["fork", "gap", "cut-tail", "omission"]
PASSING: Final[tuple[FlawName, ...]] = ("gap", "cut-tail")
"""What may turn out well: more of the log may still come. The others are proved, and for ever."""


class Circle(IntEnum):
    """How near an author is to us: the farther, the sooner its history is forgotten."""

    OURS = 0
    PARTNER = 1
    """It had a part in a contract with us."""
    BIDDER = 2
    """It bid for a task of ours, or offered us one."""
    RATER = 3
    """Somebody nearer had a contract with it."""
    OTHER = 4
    """A file or a proof brought it."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with a history."""

    what: FlawName
    agent: AgentId
    """Whose history it is; for an omission, the relay that left something out."""
    place: int
    """The first position that is concerned."""
    last: int
    source: bytes
    """Who has shown it, where that matters: whose link names a later entry."""
    note: str


NOTHING: Final = Head.empty()


@dataclass(frozen=True, slots=True)
class Known:
    """How much of a log is held."""

    first: int = 0
    """Where the unbroken run begins; 0 while there is none."""
    whole: Head = NOTHING
    """Where it ends."""
    head: int = 0
    """The newest entry held, whether the run reaches it or not."""

    def seen(self, record: Record) -> "Known":
        """Return what is known with ``record``, which may lie anywhere."""
        known = self if record.seq <= self.head else replace(self, head=record.seq)
        is_next = record.seq == known.whole.seq + 1 and record.prev == known.whole.id
        if not is_next or (known.first == 0 and record.seq != 1):
            return known
        return replace(known, first=known.first or record.seq, whole=Head.of(record))

    def begun_at(self, record: Record) -> "Known":
        """Return what is known when the run begins anew at ``record``, a later entry."""
        return replace(
            self, first=record.seq, whole=Head.of(record), head=max(self.head, record.seq)
        )


@dataclass(frozen=True, slots=True)
class Named:
    """A link to an entry that we do not have."""

    holder: AgentId
    """Who signed the link."""
    seq: int


def find_flaws(
    agent: AgentId, known: Known, named: Iterable[Named], *, beyond: int | None = None
) -> list[Flaw]:
    """Say what is wrong with a log after every source was asked for all that it has.

    Args:
        agent: Whose log it is.
        known: What is held of it now.
        named: Links to entries of it that we do not have, known before the sources were asked.
        beyond: The first entry that is held beyond the run, if any is.

    """
    flaws: list[Flaw] = []
    if beyond is not None:
        place, last = known.whole.seq + 1, beyond - 1
        note = f"nobody has entries {place} to {last}, and entry {beyond} comes after them"
        if place > last:  # both are there, and do not fit
            last, note = beyond, f"entry {beyond} follows another entry than the one known"
        flaws.append(Flaw("gap", agent, place, last, b"", note))
    latest: dict[AgentId, int] = {}
    for link in named:
        if link.seq > known.head:
            latest[link.holder] = max(link.seq, latest.get(link.holder, 0))
    for holder, seq in latest.items():
        note = f"the log ends at {known.head}, but somebody holds a link to its entry {seq}"
        flaws.append(Flaw("cut-tail", agent, known.head + 1, seq, holder, note))
    return flaws
