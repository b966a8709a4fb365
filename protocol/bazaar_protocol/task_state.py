"""What is known of a task at one moment: the value that the fold in ``task`` takes on and on."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Award, Post
from bazaar_protocol.records import Record, RecordId


class State(StrEnum):
    """Where a task stands."""

    OPEN = "open"
    AWARDED = "awarded"
    RUNNING = "running"
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


TERMINAL: Final = frozenset(
    {
        State.ACCEPTED,
        State.REJECTED,
        State.LAPSED,
        State.EXPIRED,
        State.CANCELLED,
        State.FAILED,
    }
)
LIVE: Final = frozenset({State.AWARDED, State.RUNNING, State.DELIVERED})
"""The states in which some worker holds the task under its current epoch."""

_HELD: Final = LIVE | {State.ACCEPTED, State.REJECTED, State.LAPSED}

ABANDONED_AFTER_MS: Final = limits.DAY_MS
"""A running task whose sequencer has been silent so long past every deadline has failed."""


@dataclass(frozen=True, slots=True)
class SeenBid:
    """A bid, and when it arrived here."""

    record: Record
    seen_ms: int


@dataclass(frozen=True, slots=True)
class Task:
    """What is known of a task. Times are the clock of whoever keeps it, never the authors'."""

    post: Record
    terms: Post
    state: State
    opened_ms: int
    epoch: int = 0
    attempts: int = 0
    """How many attempts were accepted."""
    award: Record | None = None
    accept: Record | None = None
    deliver: Record | None = None
    verdict: Record | None = None
    heartbeat: Record | None = None
    deadline_ms: int | None = None
    """When the current state times out, if it does."""
    close_ms: int | None = None
    """When the running attempt has to have delivered."""
    bids: tuple[SeenBid, ...] = ()
    spent: tuple[bytes, ...] = ()
    """Bids whose award came to nothing."""
    why: str = ""
    """Why it is not going on, for people."""

    @property
    def id(self) -> RecordId:
        """The task's id is that of its post."""
        return self.post.id

    @property
    def poster(self) -> AgentId:
        """Who posted it."""
        return self.post.author

    @property
    def worker(self) -> AgentId | None:
        """Who holds the current award, or held it to the end."""
        if self.award is None or self.state not in _HELD:
            return None
        return AgentId(award_of(self.award).worker)

    @property
    def window_ends_ms(self) -> int:
        """When the sequencer of an auction stops waiting for more bids."""
        return self.opened_ms + self.terms.bid_window_ms

    @property
    def expires_ms(self) -> int:
        """When an open task is no longer worth a bid."""
        return self.opened_ms + self.terms.expires_in_ms


def award_of(record: Record) -> Award:
    """Return the body of an award that the fold has taken."""
    assert isinstance(record.body, Award)
    return record.body


def link_to(record: Record) -> Link:
    """Name a logged record in another author's log."""
    return Link(record.author, record.seq, record.id)
