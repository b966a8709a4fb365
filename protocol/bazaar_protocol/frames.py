"""What nodes and relays say to each other on a link: one msgpack array for each frame.

On the wire a frame is a big-endian u32 length and that many bytes (``framing``). The first item
of the array is the frame's name. Requests carry a number that their answer repeats, so many can
be under way at once. Frames are not signed: the link is authenticated, and what has to last
travels inside them as records.
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from bazaar_protocol import codec, limits
from bazaar_protocol.fields import Id, InclusionPath, Key, Label, Text, Uint
from bazaar_protocol.peering_frames import PeerToRelay, RelayToPeer

RELAY_PROTOCOL: Final = "/bazaar/relay/1"
NODE_PROTOCOL: Final = "/bazaar/node/1"
VERSION: Final = 1

RawRecord: TypeAlias = Annotated[bytes, Meta(max_length=limits.RECORD_BYTES_MAX)]
RawRecords: TypeAlias = Annotated[
    tuple[RawRecord, ...], Meta(max_length=limits.RECORDS_PER_FRAME_MAX)
]
Sealed: TypeAlias = Annotated[bytes, Meta(max_length=limits.LETTER_BYTES_MAX)]
Keys: TypeAlias = Annotated[tuple[Key, ...], Meta(max_length=limits.VALUES_PER_FILTER_MAX)]
Ids: TypeAlias = Annotated[tuple[Id, ...], Meta(max_length=limits.VALUES_PER_FILTER_MAX)]
Labels: TypeAlias = Annotated[tuple[Label, ...], Meta(max_length=limits.VALUES_PER_FILTER_MAX)]


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class Hello(_Frame, frozen=True, tag="hello"):
    """The first frame of a node: what it speaks."""

    version: Uint
    software: Label
    features: Labels


class Welcome(_Frame, frozen=True, tag="welcome"):
    """The relay's answer: what it speaks, which store it has, and its information document."""

    version: Uint
    software: Label
    features: Labels
    store: Id
    """Random name of the relay's store. Cursors of another store mean nothing in it."""
    cursor: Uint
    """The newest cursor."""
    information: Annotated[bytes, Meta(max_length=16 * limits.KIB)]
    """The information document, JSON."""


class Publish(_Frame, frozen=True, tag="publish"):
    """Please keep these records and pass them on."""

    request: Uint
    records: RawRecords


class Published(_Frame, frozen=True, tag="published"):
    """One status for each record: ``accepted``, ``duplicate``, or a prefix and a reason.

    Sent only after the accepted ones are durable. Prefixes: ``malformed:`` ``signature:``
    ``too-large:`` ``gap:`` ``fork:`` ``stale:`` ``rate-limited:`` ``blocked:`` ``pow:``
    ``expired:`` ``storage:``.
    """

    request: Uint
    statuses: Annotated[tuple[Text, ...], Meta(max_length=limits.RECORDS_PER_FRAME_MAX)]


class Filter(_Frame, frozen=True):
    """Which records: every part that is not empty has to match; in a part, any value does."""

    kinds: Labels = ()
    capability: Label = ""
    """Prefix, for adverts and posts."""
    authors: Keys = ()
    tags: Labels = ()
    tasks: Ids = ()
    to: Keys = ()
    """Addressed to one of these: the relay derives the addressees of a record (protocol.md)."""


class Subscribe(_Frame, frozen=True, tag="subscribe"):
    """Send me what matches any of these, from ``since`` on. It replaces the link's earlier one."""

    request: Uint
    filters: Annotated[tuple[Filter, ...], Meta(max_length=limits.FILTERS_PER_SUBSCRIPTION_MAX)]
    since: Uint
    """The last cursor that the subscriber has dealt with; 0 for all there is."""


class Event(_Frame, frozen=True, tag="event"):
    """A record that matches. The same bytes go to every subscriber."""

    cursor: Uint
    record: RawRecord


class CaughtUp(_Frame, frozen=True, tag="caught-up"):
    """Everything up to ``cursor`` was sent; what follows is new."""

    request: Uint
    cursor: Uint


class Lagged(_Frame, frozen=True, tag="lagged"):
    """You read too slowly. The relay goes on from ``cursor``, out of its store."""

    cursor: Uint


class Query(_Frame, frozen=True, tag="query"):
    """Which adverts offer this? Ranked by how well the words fit, never by trust."""

    request: Uint
    capability: Label
    """Prefix; empty for any."""
    words: Annotated[str, Meta(max_length=limits.QUERY_CHARS_MAX)]
    after: Label
    """Where the page before ended; empty for the first."""
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)]


class Adverts(_Frame, frozen=True, tag="adverts"):
    """A page of adverts, best first."""

    request: Uint
    records: RawRecords
    next: Label
    """For ``Query.after``; empty when this is the last page."""


class GetLog(_Frame, frozen=True, tag="log"):
    """Entries ``first`` to ``last`` of an author's log, as a chain segment."""

    request: Uint
    author: Key
    first: Uint
    last: Uint


class GetHead(_Frame, frozen=True, tag="head"):
    """The newest entry of an author's log."""

    request: Uint
    author: Key


class GetTask(_Frame, frozen=True, tag="task"):
    """All records of one task, in the order in which the relay accepted them."""

    request: Uint
    task: Id
    after: Uint
    """Cursor of the last one known."""


class Segment(_Frame, frozen=True, tag="segment"):
    """Records in order; cut where the frame is full, so ask again from there."""

    request: Uint
    records: RawRecords
    cursor: Uint
    """Of the last one (for ``task``), else 0."""
    more: bool


class GetInclusion(_Frame, frozen=True, tag="inclusion"):
    """Show that this record is under one of your receipts.

    ``not-found`` is the answer while the record is under none, or when nobody here knows it.
    """

    request: Uint
    id: Id


class Included(_Frame, frozen=True, tag="included"):
    """The receipt (an ``intake``), and the way from the record to its root."""

    request: Uint
    intake: RawRecord
    index: Uint
    """Which of the receipt's records it is; the first is 0."""
    path: InclusionPath


class GetStatement(_Frame, frozen=True, tag="state"):
    """Which is the newest entry that you have of this author's log? Sign what you answer."""

    request: Uint
    author: Key


class Stated(_Frame, frozen=True, tag="stated"):
    """The relay's ``statement``."""

    request: Uint
    record: RawRecord


class Claim(_Frame, frozen=True, tag="claim"):
    """Give me this task; for posts that name the relay as their sequencer."""

    request: Uint
    task: Id


class Claimed(_Frame, frozen=True, tag="claimed"):
    """The relay's award of the task."""

    request: Uint
    record: RawRecord


class Mail(_Frame, frozen=True, tag="mail"):
    """Keep this sealed letter for ``to`` until it collects it."""

    request: Uint
    to: Key
    sealed: Sealed


class Mailed(_Frame, frozen=True, tag="mailed"):
    """The letter is durable."""

    request: Uint


class Letter(_Frame, frozen=True, tag="letter"):
    """A letter for you; sent when it comes and, until you collect it, at each subscription."""

    number: Uint
    sealed: Sealed


class Collect(_Frame, frozen=True, tag="collect"):
    """I have these letters: forget them."""

    request: Uint
    numbers: Annotated[tuple[Uint, ...], Meta(max_length=limits.LETTERS_PER_AGENT_MAX)]


class Collected(_Frame, frozen=True, tag="collected"):
    """They are forgotten."""

    request: Uint


class OpenLink(_Frame, frozen=True, tag="link"):
    """Open a relayed link to a node that is connected to you, if it agrees."""

    request: Uint
    to: Key


class LinkOpened(_Frame, frozen=True, tag="linked"):
    """The other node agreed: both may send on the link from now on."""

    request: Uint
    link: Uint
    """The relay's number for the link, the same at both ends; never used again."""


class LinkOffered(_Frame, frozen=True, tag="link-offered"):
    """A node wants a link to you. Answer with ``link-accept`` or ``link-close``, and soon."""

    link: Uint
    by: Key
    """Who wants it, as the relay says; the handshake on the link proves it."""


class AcceptLink(_Frame, frozen=True, tag="link-accept"):
    """I take the link."""

    link: Uint


class LinkData(_Frame, frozen=True, tag="link-data"):
    """One message of the handshake or of the session that follows; nobody else can read it."""

    link: Uint
    data: Annotated[bytes, Meta(min_length=1, max_length=limits.RELAYED_DATA_BYTES_MAX)]


class LinkCredit(_Frame, frozen=True, tag="link-credit"):
    """So much of what was sent has been taken, and may be sent again."""

    link: Uint
    bytes: Annotated[int, Meta(ge=1, le=limits.RELAYED_WINDOW_BYTES)]


class CloseLink(_Frame, frozen=True, tag="link-close"):
    """The link is over, or not wanted. Nobody answers."""

    link: Uint
    reason: Label
    """For people; the relay's own begin with ``relay:``."""


class Fetch(_Frame, frozen=True, tag="fetch"):
    """Between nodes: part of the input or result of a task, named by its hash."""

    request: Uint
    task: Id
    hash: Id
    offset: Uint


class Chunk(_Frame, frozen=True, tag="chunk"):
    """The bytes from ``offset`` on, as many as fit; ``size`` is that of the whole."""

    request: Uint
    offset: Uint
    size: Uint
    data: Annotated[bytes, Meta(max_length=limits.CHUNK_BYTES)]


class Ping(_Frame, frozen=True, tag="ping"):
    """Ask whether the other side is there."""

    request: Uint


class Pong(_Frame, frozen=True, tag="pong"):
    """Say that it is."""

    request: Uint


class Error(_Frame, frozen=True, tag="error"):
    """The request cannot be met: a machine-readable ``code`` and a reason for people."""

    request: Uint
    """0 when it is about the link, which is then closed."""
    code: Label
    reason: Text


ToRelay: TypeAlias = (
    Hello | Publish | Subscribe | Query | GetLog | GetHead | GetTask | GetInclusion
    | GetStatement | Claim | Mail | Collect | Ping | OpenLink | AcceptLink | LinkData | LinkCredit
    | CloseLink | PeerToRelay
)  # fmt: skip
FromRelay: TypeAlias = (
    Welcome | Published | Event | CaughtUp | Lagged | Adverts | Segment | Included | Stated
    | Claimed | Mailed | Letter | Collected | Pong | Error | LinkOpened | LinkOffered | LinkData
    | LinkCredit | CloseLink | RelayToPeer
)  # fmt: skip
BetweenNodes: TypeAlias = Hello | Fetch | Chunk | Ping | Pong | Error
Frame: TypeAlias = ToRelay | FromRelay | BetweenNodes


def encode_frame(frame: Frame) -> bytes:
    """Encode ``frame`` without its length."""
    return codec.encode(frame)


def decode_to_relay(body: bytes) -> ToRelay:
    """Read what a node sent to a relay.

    Raises:
        MalformedRecord: It is no such frame.

    """
    return codec.decode(body, _TO_RELAY, bytes_max=limits.FRAME_BYTES_MAX)


def decode_from_relay(body: bytes) -> FromRelay:
    """Read what a relay sent to a node.

    Raises:
        MalformedRecord: It is no such frame.

    """
    return codec.decode(body, _FROM_RELAY, bytes_max=limits.FRAME_BYTES_MAX)


def decode_between_nodes(body: bytes) -> BetweenNodes:
    """Read what a node sent to another node.

    Raises:
        MalformedRecord: It is no such frame.

    """
    return codec.decode(body, _BETWEEN_NODES, bytes_max=limits.FRAME_BYTES_MAX)


_TO_RELAY: Final[msgspec.msgpack.Decoder[ToRelay]] = msgspec.msgpack.Decoder(ToRelay)
_FROM_RELAY: Final[msgspec.msgpack.Decoder[FromRelay]] = msgspec.msgpack.Decoder(FromRelay)
_BETWEEN_NODES: Final[msgspec.msgpack.Decoder[BetweenNodes]] = msgspec.msgpack.Decoder(BetweenNodes)
