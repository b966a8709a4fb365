"""What a node can be asked to do: the words that its API, its commands and its library share.

``NodeService`` is the whole surface. The daemon implements it; the HTTP API exposes it on the
node's own socket, and commands are clients of that. Times are milliseconds of Unix time, names of
agents are ``did:key`` texts, ids are 64 hex digits. Text that strangers wrote stands in fields
whose name begins with ``untrusted_``.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from bazaar_node.pledge_service import Pledges
from bazaar_node.trust_service import ClaimStatus, Reputations
from bazaar_protocol import limits
from bazaar_protocol.kinds import Mode

Role = Literal["poster", "worker"]
Method = Literal["schema", "hash", "command", "human"]


class Weights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts in an auction, in basis points; together 10,000.

    All 0, the default, awards by expected value: what the work is worth, the price, and how likely
    the worker is to succeed as far as this node knows it.
    """

    price: int = 0
    eta: int = 0
    confidence: int = 0
    standing: int = 0


class PostRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task to post. What is left out gets the default that fits most.

    The mode picks itself: a ``worker`` named means ``direct``, a fixed ``price`` means ``claim``,
    and else the task is auctioned under ``price_max``.
    """

    capability: str
    """Dotted name, with ``@version`` when it has to be that one."""
    title: str = ""
    input: bytes = b""
    media_type: str = "application/json"
    private: bool = False
    """Send the input only to the worker that gets the task, sealed to its key."""
    mode: Mode | None = None
    worker: str | None = None
    price: int | None = None
    price_max: int = 1_000
    """The ceiling of an auction: what the work is worth, against which prices are weighed."""
    bid_window_ms: int = 1_000
    weights: Weights = Weights()
    bidders_max: int = 16
    sealed: bool = True
    sequencer: Literal["self", "relay"] = "self"
    schedule_to_start_ms: int = 30_000
    start_to_close_ms: int = limits.HOUR_MS
    heartbeat_timeout_ms: int = 60_000
    attempts_max: int = 3
    output_schema: bytes = b""
    """JSON Schema that the result has to meet; checked before anybody sees it."""
    accept: Method | None = None
    """How the result is judged; by default what was given below decides, else the schema."""
    expected_sha256: str = ""
    check_command: str = ""
    """Runs on this machine with the result as a file; exit 0 accepts."""
    verdict_within_ms: int = limits.DAY_MS
    tags: tuple[str, ...] = ()
    idempotency_key: str = ""
    """Posting twice with the same key is one task."""
    expires_in_ms: int = limits.HOUR_MS


class OfferRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A capability to offer from now on."""

    capability: str
    """Dotted name, with ``@version``; version 1 when left out."""
    command: str | None = None
    """Program that does the work; None when an agent fetches tasks with ``next_task``."""
    description: str = ""
    price: int = 0
    eta_ms: int = 60_000
    confidence: int = 9_000
    input_schema: bytes = b""
    output_schema: bytes = b""
    media_type: str = "application/json"
    tags: tuple[str, ...] = ()
    fingerprint: str = ""


class OfferView(msgspec.Struct, frozen=True, kw_only=True):
    """A capability that this node offers."""

    capability: str
    description: str
    price: int
    eta_ms: int
    confidence: int
    command: str | None
    tags: tuple[str, ...]


class RelayView(msgspec.Struct, frozen=True, kw_only=True):
    """A relay that this node uses."""

    address: str
    agent: str | None
    is_connected: bool
    is_caught_up: bool
    cursor: int
    trouble: str
    """Why it is not connected or not used, for people."""
    is_left_behind: bool = False
    """It holds entries of our log that an old backup had lost, and is of no use any more."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the node is."""

    agent: str
    peer_id: str
    name: str
    version: str
    home: str
    pid: int
    started_ms: int
    is_ready: bool
    trouble: str
    addresses: tuple[str, ...]
    relays: tuple[RelayView, ...]
    offers: tuple[str, ...]
    slots: int
    load: int
    tasks: dict[str, int]
    """How many, by state."""
    awaiting_approval: int
    log_seq: int
    outbox: int
    """Records and letters that no relay has acknowledged yet."""


class BidView(msgspec.Struct, frozen=True, kw_only=True):
    """A bid as this node knows it."""

    id: str
    worker: str
    price: int | None
    eta_ms: int | None
    confidence: int | None


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a task, in the order in which this node learnt of it."""

    seen_ms: int
    what: str
    """A kind of record (``bid``, ``award`` …), or ``refused``, ``renewed``, ``lease_lost`` …"""
    agent: str
    epoch: int
    record: str
    """Id of the record, empty when there is none."""
    untrusted_note: str


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task that this node posted, or works on."""

    id: str
    role: Role
    untrusted_title: str
    capability: str
    mode: Mode
    state: str
    epoch: int
    attempts: int
    poster: str
    worker: str | None
    price: int | None
    why: str
    awaits_approval: bool
    has_result: bool
    """The result is here, checked against its hash."""
    result_sha256: str
    result_size: int
    result_media_type: str
    progress: int
    created_ms: int
    deadline_ms: int | None


class TaskDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A task with everything this node saw of it."""

    task: TaskView
    bids: tuple[BidView, ...]
    events: tuple[TaskEvent, ...]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that advertises something, in its own words."""

    agent: str
    untrusted_name: str
    capability: str
    untrusted_description: str
    price: int
    slots: int
    load: int
    untrusted_tags: tuple[str, ...]
    expires_ms: int
    fingerprint: str = ""
    """Of what runs behind it, in its own words."""
    claim: ClaimStatus = "claimed"
    """What this node has seen of that capability, in that version, with that fingerprint."""
    lower: float = 0.0
    """Lower confidence bound of the score as a worker: what to rely on."""
    mean: float = 0.0
    good: float = 0.0
    """Evidence behind the score, in jobs."""
    bad: float = 0.0
    is_known: bool = False
    """False when there is so little evidence that the score is that of any stranger."""
    is_convicted: bool = False


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One statement of an audit."""

    ok: bool
    what: str


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """Every signature, link and epoch behind a task or an agent, checked again."""

    target: str
    records: int
    signatures: int
    checks: tuple[Check, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found wrong."""
        return all(check.ok for check in self.checks)


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Work that an interactive agent took: whatever is in it comes from a stranger."""

    task: str
    epoch: int
    capability: str
    untrusted_title: str
    untrusted_input: bytes
    media_type: str
    output_schema: bytes
    poster: str
    price: int
    lease_ms: int
    """Report progress within this time, or the lease is lost."""
    close_ms: int
    """When the result is due."""


class CanaryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input whose one right result is known, to try strangers with."""

    capability: str
    input: bytes = b""
    media_type: str = "application/json"
    expected_sha256: str


class CanaryView(msgspec.Struct, frozen=True, kw_only=True):
    """A canary that this node keeps."""

    number: int
    capability: str
    input_sha256: str
    input_size: int
    expected_sha256: str


class Canaries(Protocol):
    """The canaries of a node. Every method may raise a ``LocalError``; nothing was changed then."""

    async def all(self) -> list[CanaryView]:
        """Return the canaries, oldest first."""
        ...

    async def add(self, request: CanaryRequest) -> CanaryView:
        """Keep an input with the hash of its one right result; it replaces one of that input."""
        ...

    async def remove(self, number: int) -> None:
        """Forget a canary."""
        ...


class NodeService(Protocol):
    """Everything that a node can be asked.

    Tasks are named by their id or by the first digits of it. Every method may raise a
    ``LocalError`` (``NotFound``, ``ConfigError``, ``StorageError`` …) or a ``RemoteError``
    (``Refused``, ``IllegalTransition``, ``StaleEpoch`` …); nothing was changed then.
    """

    @property
    def canaries(self) -> Canaries:
        """Answers that it knows, to try strangers with."""
        ...

    @property
    def reputations(self) -> Reputations:
        """What it knows of others."""
        ...

    @property
    def pledges(self) -> Pledges:
        """What it says of others and of itself beyond its trades."""
        ...

    async def status(self) -> Status:
        """Return how the node is."""
        ...

    async def post(self, request: PostRequest) -> TaskView:
        """Post a task; it is durable and on its way to the relays when this returns."""
        ...

    async def tasks(self, *, role: Role | None, state: str | None, limit: int) -> list[TaskView]:
        """Return tasks, newest first."""
        ...

    async def task(self, task: str) -> TaskDetail:
        """Return one task with its history."""
        ...

    def watch(self, task: str) -> AsyncIterator[TaskDetail]:
        """Yield the task now and after each change, until it is over."""
        ...

    async def cancel(self, task: str, *, reason: str) -> TaskView:
        """Take back a task of ours, or leave the attempt that we are working on."""
        ...

    async def decide(self, task: str, *, accepted: bool, reason: str) -> TaskView:
        """Give the verdict that a task waits for."""
        ...

    async def dispute(self, task: str, *, reason: str) -> TaskView:
        """Contradict the rejection of a result of ours, in our own log, for everybody to read."""
        ...

    async def result(self, task: str) -> Path:
        """Return the file with the task's result, fetching it first if need be."""
        ...

    async def offers(self) -> list[OfferView]:
        """Return what this node offers."""
        ...

    async def offer(self, request: OfferRequest) -> OfferView:
        """Offer a capability, now and after restarts."""
        ...

    async def retract(self, capability: str) -> None:
        """Stop offering a capability."""
        ...

    async def find(self, *, capability: str, words: str, limit: int) -> list[Found]:
        """Ask the relays who offers what, whom this node relies on most first."""
        ...

    async def audit(self, target: str) -> AuditReport:
        """Check everything behind a task (by id) or an agent (by did:key) again."""
        ...

    async def next_task(self, *, capabilities: tuple[str, ...], wait_s: float) -> Assignment | None:
        """Take the next task awarded to us that no program does; None when none came in time."""
        ...

    async def heartbeat(self, task: str, *, progress: int, note: str) -> None:
        """Report progress on an assignment."""
        ...

    async def deliver(self, task: str, data: bytes, *, media_type: str) -> TaskView:
        """Hand in the result of an assignment."""
        ...
