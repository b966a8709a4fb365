"""What the relay's machine is told, and what it answers is to be done.

The shell (``service``) hands in events in the order in which they happened and carries out effects
in the order in which they were returned. A simulation may do the same without any shell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NewType, TypeAlias

from bazaar_protocol import frames
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import GetHeads, GetLogs, GetLoose
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.head_tree import HeadTree
from bazaar_relay.storage.sharing import News
from bazaar_relay.storage.store import Batch, Kept, Stored

ConnectionId = NewType("ConnectionId", int)
WorkId = NewType("WorkId", int)

Reading: TypeAlias = (
    frames.GetLog | frames.GetHead | frames.GetTask | frames.GetInclusion | frames.GetStatement
    | GetHeads | GetLogs | GetLoose
)  # fmt: skip
"""Requests that are answered out of the store alone, and so by nothing that is not durable."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A task that may be going on."""

    records: Sequence[Record]
    """The post and all that was said about it, oldest first."""
    offered: Sequence[AgentId]
    """Whom the post is addressed to, in the order in which they were told."""


@dataclass(frozen=True, slots=True)
class Started:
    """The store is open. To be handed in before anything else."""

    head: Head
    """The newest entry of the relay's own log."""
    cursor: int
    adverts: Sequence[Record]
    tasks: Sequence[Resumed]
    uncovered: Sequence[tuple[int, RecordId]] = ()
    """Cursors and ids of the records of others that are under no receipt yet, in order."""
    logs: HeadTree = field(default_factory=HeadTree)
    """The sums of all logs in the store."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A node has opened a link."""

    connection: ConnectionId
    peer: AgentId
    address: str = ""
    """Where it comes from, for what is counted by address."""


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """The operator has decided otherwise."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class Received:
    """A node has sent a frame."""

    connection: ConnectionId
    frame: frames.ToRelay


@dataclass(frozen=True, slots=True)
class Pulled:
    """A peer has handed out records that may be lacking here."""

    connection: ConnectionId
    """A number below 0 that no link has; the statuses come as a ``Reply`` to it."""
    peer: AgentId
    raws: tuple[bytes, ...] = ()
    records: Sequence[Record] = ()
    """Instead of ``raws`` log entries that were verified by their chains."""
    is_old: bool = False
    """Whether it has had them for some time, so that their dates have to do for their arrival."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A peer has taken a letter over from us."""

    to: AgentId
    number: int


@dataclass(frozen=True, slots=True)
class Verified:
    """The answer to ``Verify``: for each record itself, or what is wrong with it."""

    work: WorkId
    outcomes: Sequence[Record | RemoteError]


@dataclass(frozen=True, slots=True)
class ReadDone:
    """The answer to ``Read``; what the store does not have is left out of the first three."""

    work: WorkId
    heads: Mapping[AgentId, Head] = field(default_factory=dict)
    tasks: Mapping[RecordId, Sequence[Record]] = field(default_factory=dict)
    entries: Mapping[tuple[AgentId, int], Record] = field(default_factory=dict)
    letters: Mapping[AgentId, Sequence[AgentId | None]] = field(default_factory=dict)
    """Who handed in what waits for whom."""
    against: Mapping[AgentId, Sequence[Record]] = field(default_factory=dict)
    """What convicts each agent, or ends its identity, oldest first."""
    stamps: Mapping[AgentId, Sequence[Record]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """The store could not answer a ``Read``."""

    work: WorkId
    reason: str


@dataclass(frozen=True, slots=True)
class Committed:
    """The answer to ``Commit``: it is durable."""

    kept: Kept


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The answer to ``Commit``: nothing of it was kept."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A link has ended."""

    connection: ConnectionId


@dataclass(frozen=True, slots=True)
class Tick:
    """It is ``RelayMachine.wake_ms()``, or later."""


@dataclass(frozen=True, slots=True)
class TurnBegun:
    """The answer to ``WantTurn``: until a ``Commit`` or ``EndTurn`` no other process decides."""

    news: News


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The answer to ``WantTurn`` when there cannot be a turn now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """Other processes of this relay have committed something."""

    news: News


@dataclass(frozen=True, slots=True)
class ListeningElsewhere:
    """All who listen at other processes of this relay."""

    agents: Sequence[AgentId]


SharedEvent: TypeAlias = TurnBegun | TurnFailed | Heard | ListeningElsewhere
"""What happens only where several processes are one relay."""

Event: TypeAlias = (
    Started | Connected | Received | Verified | ReadDone | ReadFailed | Committed | CommitFailed
    | Disconnected | Tick | PolicyChanged | Pulled | Forwarded | SharedEvent
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verify:
    """Hand these to ``verifying`` and tell by ``Verified``; several may be under way at once."""

    work: WorkId
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """Ask the store and tell by ``ReadDone`` or ``ReadFailed``."""

    work: WorkId
    heads: tuple[AgentId, ...] = ()
    tasks: tuple[RecordId, ...] = ()
    entries: tuple[tuple[AgentId, int], ...] = ()
    letters: tuple[AgentId, ...] = ()
    """Whose waiting letters to tell the senders of."""
    against: tuple[AgentId, ...] = ()
    """Whose standing is to be known."""
    stamps: tuple[AgentId, ...] = ()
    """Whose stamps are to be known."""

    def __bool__(self) -> bool:
        of_authors = self.heads or self.against or self.stamps
        return bool(of_authors or self.tasks or self.entries or self.letters)


@dataclass(frozen=True, slots=True)
class Commit:
    """Make this durable and tell by ``Committed`` or ``CommitFailed``; one is under way at most."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Greet:
    """Send ``Welcome``."""

    connection: ConnectionId


@dataclass(frozen=True, slots=True)
class Reply:
    """Send a frame. Replies are few for each request, so they are never left out."""

    connection: ConnectionId
    frame: frames.FromRelay


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send new events to each of these subscribers; whoever cannot take them has lagged."""

    connections: tuple[ConnectionId, ...]
    events: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class DeliverLetter:
    """Send a new letter to each of these subscribers."""

    connections: tuple[ConnectionId, ...]
    number: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Replay:
    """Send what the store has beyond ``since``, and the letters that wait; then go on live."""

    connection: ConnectionId
    peer: AgentId
    request: int
    filters: tuple[Filter, ...]
    since: int


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer out of the store."""

    connection: ConnectionId
    frame: Reading


@dataclass(frozen=True, slots=True)
class Drop:
    """Send an ``Error`` about the link and end it."""

    connection: ConnectionId
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class PassOn:
    """Forward the letters that wait for an agent to a peer, where it listens."""

    peer: AgentId
    agent: AgentId


@dataclass(frozen=True, slots=True)
class Present:
    """Tell all peers that an agent listens here."""

    agent: AgentId


@dataclass(frozen=True, slots=True)
class WantTurn:
    """Begin a turn and tell by ``TurnBegun`` or ``TurnFailed``; only where a store is shared."""


@dataclass(frozen=True, slots=True)
class EndTurn:
    """End the turn: there is nothing to commit."""


Effect: TypeAlias = (
    Verify | Read | Commit | Greet | Reply | Deliver | DeliverLetter | Replay | Serve | Drop
    | PassOn | Present | WantTurn | EndTurn
)  # fmt: skip
