"""What one commit makes durable, what is said after it, and how to forget it if it fails."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bazaar_protocol.frames import FromRelay
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.machine.events import ConnectionId
from bazaar_relay.storage.store import Batch, NewLetter, NewRecord, Receipt


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node is told after the commit."""

    connection: ConnectionId
    kept: FromRelay
    failed: Callable[[str], FromRelay]
    """Makes the answer if the commit failed, from the reason."""


@dataclass(slots=True)
class Group:
    """One transaction that is being gathered or is under way."""

    number: int
    records: list[NewRecord] = field(default_factory=list)
    silent: list[bool] = field(default_factory=list)
    """For each record whether it is kept without being passed on."""
    routes: list[tuple[RecordId, AgentId]] = field(default_factory=list)
    routed: list[Record] = field(default_factory=list)
    letters: list[NewLetter] = field(default_factory=list)
    collected: list[tuple[AgentId, int]] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    """Each for an ``intake`` among the records."""
    answers: list[Answer] = field(default_factory=list)
    undo: list[Callable[[], None]] = field(default_factory=list)
    """Takes back, last first, what was assumed because this would be committed."""

    @property
    def writes(self) -> int:
        """How many things are to be written."""
        return len(self.records) + len(self.routes) + len(self.letters) + len(self.collected)

    def keep(
        self,
        record: Record,
        audience: tuple[AgentId, ...],
        expires_ms: int | None,
        *,
        is_silent: bool = False,
    ) -> None:
        """Add a record."""
        self.records.append(NewRecord(record, audience, expires_ms))
        self.silent.append(is_silent)

    def route(self, post: Record, agent: AgentId) -> None:
        """Address a post that is kept already to one more agent."""
        self.routes.append((post.id, agent))
        self.routed.append(post)

    def batch(self) -> Batch:
        """Return what the store is given."""
        return Batch(
            tuple(self.records),
            tuple(self.routes),
            tuple(self.letters),
            tuple(self.collected),
            tuple(self.receipts),
        )

    def take_back(self) -> None:
        """Undo everything, last first."""
        while self.undo:
            self.undo.pop()()
