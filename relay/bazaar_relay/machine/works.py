"""What waits in the machine to be decided, first come first served."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bazaar_protocol import frames
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.machine.events import ConnectionId, Read, WorkId
from bazaar_relay.machine.group import Answer
from bazaar_relay.machine.state import Answered

_DURABLE: Final = ("accepted", "duplicate", "stale:", "fork:")
_REASON_CHARS_MAX: Final = 256


@dataclass(slots=True)
class Publishing:
    """A ``Publish`` of which some records have to be verified and decided."""

    id: WorkId
    connection: ConnectionId
    request: int
    statuses: list[str]
    open: tuple[int, ...]
    """Which of the statuses are still to be found."""
    peer: AgentId
    """Who hands them in."""
    raws: tuple[bytes, ...] = ()
    """Those records, until they are verified."""
    is_ready: bool = False
    answered: Answered = field(default_factory=Answered)
    reading: Read | None = None
    outcomes: Sequence[Record | RemoteError] = ()
    position: int = 0
    """How many of the outcomes are decided."""
    group: int = 0
    """The last group that has to be durable before this is answered."""
    is_pulled: bool = False
    """Whether a peer had it; ``peer`` is that peer then."""
    is_old: bool = False
    """Whether the peer had it for some time."""

    def answer(self) -> Answer:
        """Return what the publisher is told."""
        statuses = tuple(self.statuses)
        return Answer(
            self.connection,
            frames.Published(self.request, statuses),
            lambda reason: frames.Published(
                self.request, tuple(_failed(status, reason) for status in statuses)
            ),
        )

    def give_up(self, reason: str) -> None:
        """Refuse what is not decided yet: the store cannot be read."""
        for place in self.open[self.position :]:
            self.statuses[place] = f"storage: {reason[:_REASON_CHARS_MAX]}"
        self.position = len(self.open)

    def look_only_at(self, places: tuple[int, ...], refusal: str) -> None:
        """Refuse all that is open but these ``places`` of it."""
        for place, status in enumerate(self.open):
            if place not in places:
                self.statuses[status] = refusal
        self.raws = tuple(self.raws[place] for place in places)
        self.open = tuple(self.open[place] for place in places)

    def begin_again(self) -> None:
        """Decide all of it once more: what the first decisions stood on is gone."""
        self.position = self.group = 0


@dataclass(slots=True)
class Claiming:
    """A ``Claim``."""

    id: WorkId
    connection: ConnectionId
    request: int
    worker: AgentId
    task: RecordId
    is_ready: bool = True
    answered: Answered = field(default_factory=Answered)
    reading: Read | None = None


@dataclass(slots=True)
class Mailing:
    """A ``Mail``."""

    id: WorkId
    connection: ConnectionId
    request: int
    sender: AgentId
    to: AgentId
    sealed: bytes
    is_forwarded: bool = False
    """Whether a peer hands it over."""
    has_asked: bool = False
    """The store has said how many letters wait, as of now."""
    is_ready: bool = True
    answered: Answered = field(default_factory=Answered)
    reading: Read | None = None


@dataclass(slots=True)
class LookingAt:
    """A task of which something has become due."""

    id: WorkId
    task: RecordId
    is_ready: bool = True
    answered: Answered = field(default_factory=Answered)
    reading: Read | None = None


Work: TypeAlias = Publishing | Claiming | Mailing | LookingAt


def answer_or_error(connection: ConnectionId, request: int, kept: frames.FromRelay) -> Answer:
    """Return the answer to a request that is met or fails as a whole."""
    return Answer(connection, kept, lambda reason: storage_error(request, reason))


def storage_error(request: int, reason: str) -> frames.Error:
    """Return the answer to a request that the store could not meet."""
    return frames.Error(request, "storage", reason[:_REASON_CHARS_MAX])


def _failed(status: str, reason: str) -> str:
    return f"storage: {reason[:_REASON_CHARS_MAX]}" if status.startswith(_DURABLE) else status
