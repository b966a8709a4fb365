"""What one contract says of one agent, by the word of one other: the smallest piece of a score."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId

Role: TypeAlias = Literal["worker", "poster"]

WHOLE: Final = 1_000
"""The weight of one job, in thousandths: no contract weighs more for one agent."""


@dataclass(frozen=True, slots=True)
class StrandKey:
    """Findings of one kind, which fade and add up together."""

    role: Role
    subject: AgentId
    """Whom they are about."""
    rater: AgentId | None
    """Whose word they are; None for what the subject's own signatures prove alone."""
    capability: str
    """What the worker was to do, as the award says; empty for a poster."""
    version: int
    """Which version of it did the work, as the accept says; 0 for a poster."""
    fingerprint: bytes
    """What ran behind it, as the accept says; empty for a poster, or when it is not said."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One contract's word about one agent."""

    contract: RecordId
    """The id of the award."""
    strand: StrandKey
    is_good: bool
    weight: int
    """In thousandths of a job, 1 to 1,000, before the rater's own weight."""
    round: int
    """The position of the deciding record in the rater's log, halved.

    It is in the subject's log when there is no rater.
    """
    record: RecordId
    """The record that decided it."""
    why: str
    """In words for people; see ``contracts.findings``."""
