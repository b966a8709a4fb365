"""What a record can say: one typed body for each kind, and the table of kinds.

A kind never changes. What has to be said differently gets a new name (``post``, then ``post2``),
so an old reader never misreads a new record. Amounts are in the smallest unit, shares in basis
points, times in milliseconds, JSON travels as bytes. There are no floats and no maps.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from bazaar_protocol import limits
from bazaar_protocol.evidence_kinds import (
    Dispute,
    Intake,
    Omission,
    Proof,
    Reset,
    Reveal,
    Silence,
    Stamp,
    Statement,
    Succession,
    Vouch,
)
from bazaar_protocol.fields import (
    Addresses,
    BasisPoints,
    CapabilityName,
    Id,
    Key,
    Label,
    Link,
    MaybeId,
    Name,
    Percent,
    Schema,
    Seq,
    Tags,
    Text,
    Uint,
)

Mode: TypeAlias = Literal["direct", "claim", "auction"]
DeclineReason: TypeAlias = Literal[
    "busy", "out_of_scope", "price", "untrusted_poster", "conflict", "policy"
]


class Genesis(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The first entry of every log. Its record's ``time_ms`` says when the agent was created."""

    recovery: Id
    """Hash of the recovery public key (``log.recovery_hash``); its private half stays offline."""


class Capability(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One thing that an agent says it can do."""

    name: CapabilityName
    version: Uint
    description: Text
    input_schema: Schema
    """JSON Schema of the input; empty bytes when anything goes."""
    output_schema: Schema
    price: Uint
    input_bytes_max: Uint
    duration_ms_max: Uint
    tags: Tags
    fingerprint: MaybeId
    """Hash of what runs behind it (model, tools, version)."""


class Advert(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an agent offers until it expires; a higher ``version`` replaces a lower one."""

    version: Seq
    name: Label
    """A petname: shown, never trusted, never a key."""
    capabilities: Annotated[tuple[Capability, ...], Meta(max_length=limits.CAPABILITIES_MAX)]
    relays: Addresses
    addresses: Addresses
    slots: Uint
    load: Uint
    """How many of the slots are taken."""
    expires_in_ms: Annotated[int, Meta(ge=0, le=limits.ADVERT_LIFETIME_MS_MAX)]


class Input(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A task's input: inline, or named by its hash and fetched from the poster."""

    data: Annotated[bytes, Meta(max_length=limits.INPUT_INLINE_BYTES_MAX)] | None
    hash: Id
    """SHA-256 of the input."""
    size: Annotated[int, Meta(ge=0, le=limits.RESULT_BYTES_MAX)]
    media_type: Label
    private: bool
    """Sent only to the worker that holds the award, sealed to its key."""


class Acceptance(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How a result is judged, and until when."""

    method: Literal["schema", "hash", "command", "evaluator", "human"]
    expected: MaybeId
    """SHA-256 that the result must have, for ``hash``."""
    evaluator: Key | None
    verdict_within_ms: Annotated[int, Meta(ge=1, le=limits.TASK_LIFETIME_MS_MAX)]


class Rule(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How the sequencer picks among bids (see ``award.choose``).

    The weights sum to 10,000, or all are 0: then the highest expected value wins.
    """

    price: BasisPoints
    eta: BasisPoints
    confidence: BasisPoints
    standing: BasisPoints


class Lease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The deadlines of one attempt, as durations."""

    schedule_to_start_ms: Annotated[int, Meta(ge=1, le=limits.TASK_LIFETIME_MS_MAX)]
    """From the award to the accept."""
    start_to_close_ms: Annotated[int, Meta(ge=1, le=limits.TASK_LIFETIME_MS_MAX)]
    """From the accept to the deliver."""
    heartbeat_timeout_ms: Annotated[int, Meta(ge=1, le=limits.TASK_LIFETIME_MS_MAX)]
    """From one heartbeat to the next; the worker sends one every sixth of it."""
    attempts_max: Annotated[int, Meta(ge=1, le=limits.ATTEMPTS_MAX)]
    """How many accepted attempts may fail before the task has failed."""


class Post(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A task that somebody wants done. Its record's id is the task's id."""

    title: Text
    capability: CapabilityName
    capability_version: Uint
    """0 when any version will do."""
    mode: Mode
    input: Input
    output_schema: Schema
    acceptance: Acceptance
    price: Uint
    """The fixed price of a ``claim``, else the ceiling."""
    bid_window_ms: Annotated[int, Meta(ge=0, le=limits.TASK_LIFETIME_MS_MAX)]
    rule: Rule
    lease: Lease
    sequencer: Key
    """The only one whose awards count: the poster itself, or a relay."""
    worker: Key | None
    """Who is asked, for ``direct``."""
    bidders_max: Annotated[int, Meta(ge=1, le=limits.BIDS_PER_POST_MAX)]
    sealed: bool
    """Bids are encrypted to the sequencer."""
    canary: MaybeId
    """Commitment to an answer that the poster already knows."""
    tags: Tags
    idempotency_key: Label
    addresses: Addresses
    """Where the poster's node can be dialed."""
    expires_in_ms: Annotated[int, Meta(ge=1, le=limits.TASK_LIFETIME_MS_MAX)]


class BidTerms(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a worker promises if it gets the task."""

    price: Uint
    eta_ms: Uint
    """The time within which nine of ten such tasks are done."""
    confidence: BasisPoints
    """The probability of success, by the worker's own estimate."""
    valid_for_ms: Annotated[int, Meta(ge=0, le=limits.TASK_LIFETIME_MS_MAX)]


class Bid(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An offer to do a task: ``terms`` in the open, or ``sealed`` with a ``commitment``."""

    task: Id
    terms: BidTerms | None
    sealed: Annotated[bytes, Meta(max_length=limits.SEALED_BYTES_MAX)]
    commitment: MaybeId
    """Hash of salt and terms: once the sequencer opens them, anyone can check them."""


class Decline(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A reasoned no, to a post (``epoch`` 0) or to an award. It is neutral for reputation."""

    task: Id
    epoch: Uint
    reason: DeclineReason
    retry_after_ms: Uint


class Considered(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A bid as the sequencer weighed it."""

    bid: Id
    standing: BasisPoints
    """What the sequencer holds of the bidder."""


class Award(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The sequencer gives the task to a worker. ``epoch`` is the fencing token of the attempt.

    It repeats from the post who is concerned and with what, since posts are forgotten in time and
    the receipts that an award begins are evidence for ever.
    """

    task: Id
    poster: Key
    worker: Key
    judge: Key
    """Whose verdict counts: the poster, or the evaluator that the post names."""
    capability: CapabilityName
    epoch: Seq
    bid: MaybeId
    price: Uint
    terms: Id
    """Hash of what both sides agree on (``award.terms_hash``)."""
    lease: Lease
    relays: Annotated[tuple[Key, ...], Meta(max_length=limits.ADDRESSES_MAX)]
    """The relays by which the poster can be reached: who is silent there is silent."""
    considered: Annotated[tuple[Considered, ...], Meta(max_length=limits.BIDS_PER_POST_MAX)]


class Accept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The worker takes the award: from here on it owes a result."""

    task: Id
    award: Link
    epoch: Seq
    terms: Id
    capability_version: Seq
    """Which version of the capability does the work."""
    fingerprint: MaybeId
    """Hash of what runs behind it, as the worker's advert says."""


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The worker is alive and asks for its lease to be renewed."""

    task: Id
    award: Id
    epoch: Seq
    progress: Percent
    note: Label


class Deliver(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The worker has a result, named by its hash."""

    task: Id
    award: Link
    epoch: Seq
    hash: Id
    size: Annotated[int, Meta(ge=0, le=limits.RESULT_BYTES_MAX)]
    media_type: Label
    addresses: Addresses
    """Where the worker's node can be dialed for it."""


class Criterion(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One aspect of a judgement."""

    name: Name
    score: Percent


class Verdict(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The poster, or the evaluator it named, judges a result."""

    task: Id
    deliver: Link
    epoch: Seq
    accepted: bool
    reason: Text
    criteria: Annotated[tuple[Criterion, ...], Meta(max_length=limits.CRITERIA_MAX)]


class Breach(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The sequencer states that a deadline passed: the lease is over."""

    task: Id
    accept: Link
    epoch: Seq
    deadline: Literal["heartbeat", "start_to_close"]


class Withdraw(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An orderly way out: the worker's from its attempt, or the poster's from its task."""

    task: Id
    award: Link | None
    """The attempt that the worker leaves; none when the poster takes the task back."""
    epoch: Uint
    reason: Text


Body: TypeAlias = (
    Genesis | Advert | Post | Bid | Decline | Award | Accept | Heartbeat | Deliver | Verdict
    | Breach | Withdraw | Dispute | Reveal | Silence | Vouch | Reset | Intake | Statement
    | Succession | Proof | Omission | Stamp
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table of kinds."""

    name: str
    body: type[Body]
    is_logged: bool


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("genesis", Genesis, is_logged=True),
        Kind("advert", Advert, is_logged=False),
        Kind("post", Post, is_logged=False),
        Kind("bid", Bid, is_logged=False),
        Kind("decline", Decline, is_logged=False),
        Kind("award", Award, is_logged=True),
        Kind("accept", Accept, is_logged=True),
        Kind("heartbeat", Heartbeat, is_logged=False),
        Kind("deliver", Deliver, is_logged=True),
        Kind("verdict", Verdict, is_logged=True),
        Kind("breach", Breach, is_logged=True),
        Kind("withdraw", Withdraw, is_logged=True),
        Kind("dispute", Dispute, is_logged=True),
        Kind("reveal", Reveal, is_logged=True),
        Kind("silence", Silence, is_logged=True),
        Kind("vouch", Vouch, is_logged=True),
        Kind("reset", Reset, is_logged=True),
        Kind("intake", Intake, is_logged=True),
        Kind("statement", Statement, is_logged=False),
        Kind("succession", Succession, is_logged=False),
        Kind("proof", Proof, is_logged=False),
        Kind("omission", Omission, is_logged=False),
        Kind("stamp", Stamp, is_logged=False),
    )
}
KIND_OF_BODY: Final = {kind.body: kind for kind in KINDS.values()}
