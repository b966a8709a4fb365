"""What relays ask each other when one catches up with another.

They are frames like all others and go over the same links (``frames``). The first four only read,
and whoever may read at all may send them; the last two are for relays that are each other's peers.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from bazaar_protocol import limits
from bazaar_protocol.fields import Id, Key, MaybeId, Seq, Uint

Prefix: TypeAlias = Annotated[bytes, Meta(max_length=limits.RANGE_DIGITS_MAX)]
"""The first hex digits of keys, a digit (0 to 15) in each byte; empty for all keys there are."""


class Range(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The logs of a range of authors, summed up (``reconciliation``)."""

    prefix: Prefix
    count: Uint
    sum: Id


class RangeSum(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A ``Range`` whose place says which it is."""

    count: Uint
    sum: Id


class LogHead(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a log ends."""

    author: Key
    seq: Seq
    id: Id


class LogSpan(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Entries ``first`` to ``last`` of a log."""

    author: Key
    first: Seq
    last: Seq


Parts: TypeAlias = Annotated[tuple[RangeSum, ...], Meta(max_length=limits.RANGE_PARTS)]


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class Compare(_Frame, frozen=True, tag="compare"):
    """Say which of these ranges are others at your place."""

    request: Uint
    ranges: Annotated[tuple[Range, ...], Meta(max_length=limits.RANGES_PER_FRAME_MAX)]


class Compared(_Frame, frozen=True, tag="compared"):
    """For each range its sixteen parts, in order of the next digit; none where it is the same."""

    request: Uint
    parts: Annotated[tuple[Parts, ...], Meta(max_length=limits.RANGES_PER_FRAME_MAX)]


class GetHeads(_Frame, frozen=True, tag="heads"):
    """Say where the logs of these authors end."""

    request: Uint
    prefix: Prefix
    after: MaybeId
    """The last author of the page before; empty for the first page."""


class Listed(_Frame, frozen=True, tag="listed"):
    """The ends of logs, in order of their authors."""

    request: Uint
    heads: Annotated[tuple[LogHead, ...], Meta(max_length=limits.HEADS_PER_FRAME_MAX)]
    more: bool


class GetLogs(_Frame, frozen=True, tag="logs"):
    """These parts of logs, please, one after another. The answer is a ``segment``."""

    request: Uint
    spans: Annotated[tuple[LogSpan, ...], Meta(max_length=limits.SPANS_PER_FRAME_MAX)]


class GetLoose(_Frame, frozen=True, tag="loose"):
    """What is in no log, of the kinds that this version knows. The answer is a ``segment``."""

    request: Uint
    after: Uint
    """Cursor of the last one known."""


class Here(_Frame, frozen=True, tag="here"):
    """These agents are to be found at my place: forward me their letters. Nobody answers."""

    agents: Annotated[tuple[Key, ...], Meta(max_length=limits.AGENTS_PER_FRAME_MAX)]


class Forward(_Frame, frozen=True, tag="forward"):
    """A letter for an agent of yours. The answer is ``mailed``; ``not-found`` if it is not there.

    A relay forwards what was mailed to it, and never what was forwarded to it.
    """

    request: Uint
    to: Key
    sender: MaybeId
    """Who mailed it; empty if that was the relay itself."""
    sealed: Annotated[bytes, Meta(max_length=limits.LETTER_BYTES_MAX)]


PeerToRelay: TypeAlias = Compare | GetHeads | GetLogs | GetLoose | Here | Forward
RelayToPeer: TypeAlias = Compared | Listed
