"""What can happen to an agent, and what it wants done about it.

``Agent.handle`` takes an event and returns a ``Turn``: changes that become durable together, and
actions to carry out after that. The daemon and the simulator interpret the same ones.
"""

from dataclasses import dataclass
from typing import TypeAlias

from bazaar_node.market.experience import Outcome
from bazaar_node.market.probes import Probe
from bazaar_protocol.evidence_kinds import Stamp, Vouch
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import BidTerms, Post
from bazaar_protocol.letters import Letter
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import Task


@dataclass(frozen=True, slots=True)
class Offer:
    """A capability on offer, with the terms of a bid for it."""

    name: str
    version: int
    description: str
    price: int
    eta_ms: int
    confidence: int
    input_schema: bytes
    output_schema: bytes
    media_type: str
    tags: tuple[str, ...]
    fingerprint: bytes
    command: str | None

    @property
    def capability(self) -> str:
        """Name and version as people write them."""
        return f"{self.name}@{self.version}"


# What can happen, in the past tense.


@dataclass(frozen=True, slots=True)
class Asked:
    """The owner wants a task done; ``command`` is the owner's own check of the result."""

    post: Post
    command: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A relay handed us a record, whose signature was checked."""

    record: Record


@dataclass(frozen=True, slots=True)
class LetterArrived:
    """Somebody sent us a sealed letter; ``sender`` signed it."""

    sender: AgentId
    letter: Letter


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The agent was built from its store: what a crash may have interrupted is to go on."""


@dataclass(frozen=True, slots=True)
class InputReady:
    """The input of a task that we work on is here, and is what the post says."""

    task: RecordId
    epoch: int


@dataclass(frozen=True, slots=True)
class WorkProgressed:
    """The work on a task goes on; ``percent`` is None when nobody said how far it is."""

    task: RecordId
    epoch: int
    percent: int | None
    note: str


@dataclass(frozen=True, slots=True)
class WorkDone:
    """There is a result; ``data`` is given when it is small enough to be mailed."""

    task: RecordId
    epoch: int
    hash: bytes
    size: int
    media_type: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """There will be no result."""

    task: RecordId
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class ResultArrived:
    """The result of a task of ours is here, and its hash is the one delivered."""

    task: RecordId
    hash: bytes


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of a task of ours was judged, by a check or by the owner."""

    task: RecordId
    deliver: RecordId
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the relays have of a task whose award named us."""

    post: Record
    award: Record


@dataclass(frozen=True, slots=True)
class InputFound:
    """The private input of a task of ours was read, for the worker that accepted the task."""

    task: RecordId
    worker: AgentId
    data: bytes


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The owner takes a task back, or leaves an attempt."""

    task: RecordId
    reason: str


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """A claim was not granted; ``code`` is what its sequencer said."""

    task: RecordId
    code: str

    @property
    def is_final(self) -> bool:
        """Whether asking again would not change the answer."""
        return self.code in {"expired", "not-found", "refused"}


@dataclass(frozen=True, slots=True)
class Contested:
    """The owner contradicts the verdict on a result of ours."""

    task: Task
    reason: str


@dataclass(frozen=True, slots=True)
class Pledged:
    """The owner vouches for somebody, or a proof of work was found."""

    body: Vouch | Stamp


@dataclass(frozen=True, slots=True)
class RefusedByRelay:
    """A relay did not take a record of ours that was about a task."""

    record: Record
    status: str


AgentEvent: TypeAlias = (
    Asked | Arrived | LetterArrived | Ticked | Resumed | InputReady | WorkProgressed | WorkDone
    | WorkFailed | ResultArrived | Judged | Learnt | InputFound | Cancelled | RefusedByRelay
    | ClaimRefused | Contested | Pledged
)  # fmt: skip


# Changes: made durable together, before any action.


@dataclass(frozen=True, slots=True)
class Logged:
    """Our own log has a new entry."""

    record: Record


@dataclass(frozen=True, slots=True)
class Began:
    """We take part in a task from now on."""

    post: Record
    role: str
    at_ms: int
    command: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A task's fold took an event: a record, or the passing of time when there is none."""

    task: RecordId
    at_ms: int
    record: Record | None
    state: str
    is_over: bool
    note: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth telling the owner, that is no part of the fold."""

    task: RecordId
    at_ms: int
    what: str
    agent: AgentId
    epoch: int
    record: RecordId | None
    note: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The terms of a sealed bid are known."""

    bid: RecordId
    salt: bytes
    terms: BidTerms


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something to hand to the relays: a record, or a letter when ``to`` is somebody."""

    raw: bytes
    to: AgentId | None


@dataclass(frozen=True, slots=True)
class Concluded:
    """An attempt at a task of ours came to its end, good or bad."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Probed:
    """A task of ours is a probe."""

    probe: Probe


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Evidence came that is about no task of ours: it is looked at when there is time."""

    record: Record


Change: TypeAlias = (
    Logged | Began | Observed | Noted | Opened | Outgoing | Concluded | Probed | Witnessed
)


# Actions: carried out after the changes are durable; losing one is mended by ``Resumed``.


@dataclass(frozen=True, slots=True)
class ClaimTask:
    """Ask the relay that sequences this task for it."""

    task: RecordId
    sequencer: AgentId


@dataclass(frozen=True, slots=True)
class LearnTask:
    """An award names us for a task that we do not know: fetch what the relays have of it."""

    task: RecordId
    award: Record


@dataclass(frozen=True, slots=True)
class LearnPost:
    """Somebody invites us to bid for a task of theirs: fetch its post."""

    task: RecordId
    poster: AgentId


@dataclass(frozen=True, slots=True)
class FetchInput:
    """Get the input of a task that we accepted, unless it is here."""

    task: RecordId
    epoch: int
    post: Record


@dataclass(frozen=True, slots=True)
class StartWork:
    """Do the work; report with ``WorkProgressed``, ``WorkDone`` or ``WorkFailed``."""

    task: RecordId
    epoch: int
    post: Record
    offer: Offer


@dataclass(frozen=True, slots=True)
class StopWork:
    """Stop the work at once: the lease is lost, or there is no more use for it."""

    task: RecordId
    epoch: int


@dataclass(frozen=True, slots=True)
class FetchResult:
    """Get a delivered result, from the letter that came along or from the worker."""

    task: RecordId
    deliver: Record


@dataclass(frozen=True, slots=True)
class KeepData:
    """A letter brought data: keep it under its hash."""

    task: RecordId
    data: bytes


@dataclass(frozen=True, slots=True)
class Judge:
    """Check a result that is here; report with ``Judged``, or leave it to the owner."""

    task: RecordId
    post: Record
    deliver: Record


@dataclass(frozen=True, slots=True)
class SendInput:
    """Mail a private input to the worker that accepted the task."""

    task: RecordId
    worker: AgentId
    hash: bytes


@dataclass(frozen=True, slots=True)
class LoadChanged:
    """Slots were taken or freed: the advert may need to say so."""


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """Somebody may be watching this task."""

    task: RecordId


Action: TypeAlias = (
    ClaimTask | LearnTask | LearnPost | FetchInput | StartWork | StopWork | FetchResult | KeepData
    | Judge | SendInput | LoadChanged | TaskChanged
)  # fmt: skip
