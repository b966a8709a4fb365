"""Who may still write: what proofs and successions say of an agent, for ever.

An agent that was convicted is shunned: nothing new of it is taken on. What it owes it may finish,
since others have a part in that. An identity that was succeeded has ended, and what its key signs
beyond the last honest entry is nobody's word.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from bazaar_protocol.evidence_kinds import Omission, Proof, Succession
from bazaar_protocol.identity import AgentId, to_did
from bazaar_protocol.kinds import Advert, Bid, Post
from bazaar_protocol.records import Record

_TAKES_ON: Final[frozenset[type]] = frozenset({Post, Bid, Advert})
"""What begins something new."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The first of each sort of evidence against one agent; all of it was checked before."""

    equivocation: Record | None = None
    omission: Record | None = None
    succession: Record | None = None

    def __contains__(self, record: Record) -> bool:
        evidence = (self.equivocation, self.omission, self.succession)
        return any(one is not None and one.id == record.id for one in evidence)

    def after(self, record: Record) -> "Standing":
        """Return the standing once ``record`` is kept; itself if it says nothing new."""
        match record.body:
            case Proof() if self.equivocation is None:
                return replace(self, equivocation=record)
            case Omission() if self.omission is None:
                return replace(self, omission=record)
            case Succession() if self.succession is None:
                return replace(self, succession=record)
            case _:
                return self

    def refusal(self, record: Record) -> str:
        """Return why ``record``, by this agent, is not taken; empty if it may be."""
        if self.succession is not None and _is_beyond(_body_of(self.succession), record):
            return self.reason_to_shun
        return self.reason_to_shun if type(record.body) in _TAKES_ON else ""

    @property
    def reason_to_shun(self) -> str:
        """Why nothing new is to be begun with this agent, as a status; empty if it may."""
        if self.succession is not None:
            return f"blocked: succeeded by {to_did(AgentId(_body_of(self.succession).new))}"
        if self.equivocation is not None:
            return f"blocked: convicted by equivocation proof {self.equivocation.id.hex()}"
        if self.omission is not None:
            return f"blocked: convicted by omission proof {self.omission.id.hex()}"
        return ""


CLEAN: Final = Standing()
"""That of nearly everyone."""


def standing_of(evidence: Iterable[Record]) -> Standing:
    """Return the standing of an agent after all that is kept against it, oldest first."""
    standing = CLEAN
    for record in evidence:
        standing = standing.after(record)
    return standing


def _body_of(record: Record) -> Succession:
    assert isinstance(record.body, Succession)
    return record.body


def _is_beyond(ended: Succession, record: Record) -> bool:
    if record.seq == ended.last_seq and record.seq > 0:
        return record.id != ended.last_id
    return record.seq == 0 or record.seq > ended.last_seq
