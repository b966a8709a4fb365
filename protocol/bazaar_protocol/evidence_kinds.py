"""What a record can say beside the market: evidence, and the life of an identity.

They are rows of the table in ``kinds`` like the others, and as little as those does any of them
ever change.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from bazaar_protocol import limits
from bazaar_protocol.fields import Id, InclusionPath, Key, Link, MaybeId, Seq, Text, Uint

LoggedRecord: TypeAlias = Annotated[bytes, Meta(max_length=limits.LOGGED_PAYLOAD_BYTES_MAX + 128)]
"""A whole record of a logged kind, as it travels."""


class Dispute(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The worker contradicts the verdict on its result."""

    task: Id
    verdict: Link
    epoch: Seq
    reason: Text


class Reveal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The poster opens the canary of its post: the answer was known before the work began."""

    task: Id
    deliver: Link
    salt: Id
    digest: Id
    """SHA-256 of the right result."""


class Silence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A relay that the award names has heard nothing from the worker either."""

    task: Id
    breach: Link
    epoch: Seq


class Vouch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The author answers for another agent, or no longer does; it shares in its failures."""

    agent: Key
    is_withdrawn: bool


class Reset(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The author was restored from a backup: what it signed beyond the entry before is lost to it.

    An entry that contradicts a reset proves no equivocation; the obligations in it still count.
    """

    reason: Text


class Intake(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A relay's receipt for the records it accepted since its last one."""

    root: Id
    """Merkle tree hash (RFC 9162) of their ids."""
    count: Uint
    first: Uint
    """Cursor of the first of them."""


class Statement(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A relay signs what it answers: the newest entry that it has of an author's log."""

    author: Key
    seq: Uint
    """0 when it has none."""
    id: MaybeId
    own_seq: Uint
    """The relay's own newest entry at that moment: it speaks after every intake up to there."""


class Succession(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The recovery key ends a stolen identity and names the one that carries on."""

    old: Key
    last_seq: Uint
    last_id: MaybeId
    new: Key


class Proof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Evidence that convinces anyone, self-contained: the records that contradict each other."""

    claim: Literal["equivocation", "omission"]
    records: Annotated[tuple[LoggedRecord, ...], Meta(min_length=1, max_length=2)]


class Omission(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A relay said that it has less of a log than it had given its receipt for before."""

    statement: LoggedRecord
    """What it said (a ``statement``)."""
    intake: LoggedRecord
    """Its receipt (an ``intake``), older than the statement."""
    entry: LoggedRecord
    """The record under the receipt, which the statement leaves out."""
    index: Uint
    path: InclusionPath
    """Inclusion proof (RFC 9162) of the entry's id in the receipt's tree."""


class Stamp(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Proof of work: an identity that has one cost something to make (Back 2002)."""

    relay: MaybeId
    """For which relay; empty for whoever looks."""
    day: Uint
    """Days since 1970 (UTC): a stamp ages."""
    nonce: Id
