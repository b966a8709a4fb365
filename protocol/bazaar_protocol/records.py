r"""Signed statements: how they are made, checked and named.

A record is two layers: opaque signed bytes outside, a typed claim inside. What is signed is the
byte string that travels, so nobody ever re-encodes another's record to check it.

    payload = [1, kind, author, seq, prev, time_ms, body]
    record  = [payload, signature]       signature = Ed25519(b"bazaar/record/1\0" + payload)
    id      = sha256(b"bazaar/id/1\0" + payload + signature)

The id, and so every link in a log, covers the signature too: in a chain that is checked by its
newest signature alone, nobody can have planted junk signatures behind it.
"""

import re
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, NewType, TypeAlias

import msgspec
from msgspec import Meta

from bazaar_protocol import codec, identity, limits
from bazaar_protocol.body_rules import checker
from bazaar_protocol.errors import MalformedRecord, TooLarge
from bazaar_protocol.fields import Key, Uint
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import KIND_OF_BODY, KINDS, Body
from bazaar_protocol.plain_values import Plain, read_plain

RecordId = NewType("RecordId", bytes)
"""The 32-byte name of a record."""

NO_RECORD: Final = RecordId(bytes(32))
"""What the first entry of a log names as its predecessor."""

_SIGNATURE_DOMAIN: Final = b"bazaar/record/1\x00"
_ID_DOMAIN: Final = b"bazaar/id/1\x00"


class Unknown(msgspec.Struct, frozen=True):
    """The body of a kind from the future: stored and passed on, and it means nothing here."""

    value: tuple[Plain, ...]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A statement that its author has signed.

    Only ``seal``, ``unseal`` and ``log.check_segment`` hand records out, so whoever holds one
    holds a true one. The collector of cycles need not look at it: nothing in it leads back to it.
    """

    id: RecordId
    kind: str
    author: AgentId
    seq: int
    """Position in the author's log from 1 on; 0 for a loose record, which is in no log."""
    prev: RecordId
    """The record before it in the log; empty for a loose one."""
    time_ms: int
    """When the author says it signed: information, never authority."""
    body: Body | Unknown
    raw: bytes
    """The exact bytes; store and forward these, never a re-encoding."""


class _Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    payload: Annotated[bytes, Meta(max_length=limits.PAYLOAD_BYTES_MAX)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


class _Payload(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    version: Literal[1]
    kind: Annotated[str, Meta(max_length=limits.KIND_CHARS_MAX)]
    author: Key
    seq: Uint
    prev: Annotated[bytes, Meta(max_length=32)]
    time_ms: Uint
    body: msgspec.Raw


Signed: TypeAlias = tuple[Record, bytes, bytes]
"""A parsed record, its payload and its signature, which nobody has checked yet."""


def seal(keys: Keypair, body: Body, *, time_ms: int, seq: int = 0, prev: bytes = b"") -> Record:
    """Sign ``body`` as the kind that it is.

    Args:
        keys: The author.
        body: What is said.
        time_ms: When, in milliseconds since the epoch of Unix.
        seq: The position in the author's log; 0 for a loose kind.
        prev: The id of the author's record before it; empty for a loose kind.

    Raises:
        MalformedRecord: The body breaks a rule that every reader would refuse it for.

    """
    kind = KIND_OF_BODY[type(body)].name
    raw_body = msgspec.Raw(codec.encode(body))
    payload = codec.encode(_Payload(1, kind, keys.agent, seq, prev, time_ms, raw_body))
    signature = keys.sign(_SIGNATURE_DOMAIN, payload)
    record, _, _ = parse(codec.encode(_Envelope(payload, signature)))
    return record


def unseal(raw: bytes) -> Record:
    """Verify bytes from a stranger and return the record they are.

    Raises:
        MalformedRecord: They are not a canonical record.
        BadSignature: Its author did not sign it.

    """
    record, payload, signature = parse(raw)
    check_signature(record.author, payload, signature)
    return record


def record_id(raw: bytes) -> RecordId:
    """Name the record in ``raw`` without checking anything but its outer form.

    Raises:
        MalformedRecord: It has not even the outer form.

    """
    envelope = codec.decode(raw, _ENVELOPE, bytes_max=limits.RECORD_BYTES_MAX)
    return _name(envelope)


def parse(raw: bytes) -> Signed:
    """Read a record whose signature the caller still has to account for.

    For ``unseal`` and for chains, where one signature speaks for all; nobody else.

    Raises:
        MalformedRecord: The bytes are not a canonical record.

    """
    envelope = codec.decode(raw, _ENVELOPE, bytes_max=limits.RECORD_BYTES_MAX)
    payload = codec.decode(envelope.payload, _PAYLOAD)
    body = _parse_body(payload, len(envelope.payload))
    record = Record(
        _name(envelope),
        payload.kind,
        AgentId(payload.author),
        payload.seq,
        RecordId(payload.prev),
        payload.time_ms,
        body,
        raw,
    )
    return record, envelope.payload, envelope.signature


def check_signature(author: AgentId, payload: bytes, signature: bytes) -> None:
    """Check that ``author`` signed ``payload`` as a record.

    Raises:
        BadSignature: It did not.

    """
    identity.verify(author, _SIGNATURE_DOMAIN, payload, signature)


def signed_bytes(payload: bytes, signature: bytes) -> bytes:
    """Return a signature and what it covers, as libsodium's ``crypto_sign_open`` wants them."""
    return signature + _SIGNATURE_DOMAIN + payload


def _name(envelope: _Envelope) -> RecordId:
    return RecordId(sha256(_ID_DOMAIN + envelope.payload + envelope.signature).digest())


def _parse_body(payload: _Payload, payload_bytes: int) -> Body | Unknown:
    kind = KINDS.get(payload.kind)
    is_logged = payload.seq > 0
    if kind is not None and kind.is_logged != is_logged:
        place = "needs a place in its author's log" if kind.is_logged else "is in no log"
        raise MalformedRecord(f"{payload.kind} {place}, but seq is {payload.seq}")
    if len(payload.prev) != (32 if is_logged else 0):
        raise MalformedRecord(f"prev has {len(payload.prev)} bytes at seq {payload.seq}")
    if is_logged and (payload.seq == 1) != (payload.prev == NO_RECORD):
        raise MalformedRecord("only the first entry of a log has no predecessor")
    if is_logged and (payload.seq == 1) != (payload.kind == "genesis"):
        raise MalformedRecord("a log begins with its genesis, and has no other")
    if is_logged and payload_bytes > limits.LOGGED_PAYLOAD_BYTES_MAX:
        raise TooLarge(f"{payload_bytes} bytes exceed a log entry's limit")
    if kind is None:
        return _parse_unknown(payload)
    body: Body = codec.decode(bytes(payload.body), _BODIES[kind.name])
    _CHECKS[kind.name](body)
    return body


def _parse_unknown(payload: _Payload) -> Unknown:
    if not _KIND_NAME.match(payload.kind):
        raise MalformedRecord(f"not the name of a kind: {payload.kind!r}")
    return Unknown(read_plain(bytes(payload.body)))


_ENVELOPE: Final = msgspec.msgpack.Decoder(_Envelope)
_PAYLOAD: Final = msgspec.msgpack.Decoder(_Payload)
_BODIES: Final[dict[str, msgspec.msgpack.Decoder[Any]]] = {
    name: msgspec.msgpack.Decoder(kind.body) for name, kind in KINDS.items()
}
_KIND_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\Z")
_CHECKS: Final = {name: checker(kind.body) for name, kind in KINDS.items()}
