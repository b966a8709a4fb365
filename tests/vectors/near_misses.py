"""What must be refused, one small step away from what is right."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
from tests.vectors.examples import BO

from bazaar_protocol import codec, kinds
from bazaar_protocol.identity import Keypair
from bazaar_protocol.records import Record

Bytes = Callable[[bytes], bytes]


def parts(record: Record) -> tuple[bytes, bytes]:
    """Return the payload and the signature of a record."""
    payload, signature = msgspec.msgpack.decode(record.raw)
    return payload, signature


def resigned(keys: Keypair, items: list[Any]) -> bytes:
    """Encode and sign any items as a record, as a hostile author would."""
    return wrapped(keys, codec.encode(items))


def wrapped(keys: Keypair, payload: bytes) -> bytes:
    """Sign any bytes as a record."""
    return codec.encode([payload, keys.sign(b"bazaar/record/1\x00", payload)])


def each_kind(record: Record, keys: Keypair) -> list[tuple[str, str, bytes]]:
    """Return (name, error code, bytes) for near misses that every kind has."""
    payload, signature = parts(record)
    items: list[Any] = msgspec.msgpack.decode(payload)
    body = items[6]
    is_logged = record.seq > 0
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    moved: list[Any] = [0, b""] if is_logged else [2, sha256(b"x").digest()]
    return [
        ("signature with a flipped bit", "signature", codec.encode([payload, flipped])),
        ("signed by another", "signature", wrapped(BO, payload) if keys is not BO else
         codec.encode([payload, Keypair.from_name("cy").sign(b"bazaar/record/1\x00", payload)])),
        ("signed for another purpose", "signature",
         codec.encode([payload, keys.sign(b"bazaar/letter/1\x00", payload)])),
        ("a byte behind the record", "malformed", record.raw + b"\xc0"),
        ("a byte behind the payload", "malformed", wrapped(keys, payload + b"\xc0")),
        ("array16 for the payload", "malformed", wrapped(keys, b"\xdc\x00\x07" + payload[1:])),
        ("version 2", "malformed", resigned(keys, [2, *items[1:]])),
        ("version as uint8", "malformed", wrapped(keys, b"\x97\xcc\x01" + payload[2:])),
        ("a field too many", "malformed", resigned(keys, [*items[:6], [*body, None]])),
        ("a field too few", "malformed", resigned(keys, [*items[:6], body[:-1]])),
        ("the body as a map", "malformed", resigned(keys, [*items[:6], {}])),
        ("logged and loose confused", "malformed",
         resigned(keys, [*items[:3], *moved, *items[5:]])),
        ("a negative time", "malformed", resigned(keys, [*items[:5], -1, body])),
        ("time past 2^53-1", "malformed", resigned(keys, [*items[:5], 2**53, body])),
        ("time as a float", "malformed", resigned(keys, [*items[:5], 5.0, body])),
    ]  # fmt: skip


FIELDS: list[tuple[str, str, int, Any]] = [
    ("dispute", "epoch 0", 2, 0),
    ("dispute", "a link without an id", 1, [bytes(32), 3]),
    ("reveal", "a salt of 31 bytes", 2, bytes(31)),
    ("reveal", "no digest", 3, b""),
    ("silence", "no link", 1, None),
    ("vouch", "a number where a bool belongs", 1, 0),
    ("vouch", "no agent", 0, b""),
    ("reset", "text in normal form D", 0, "e\u0301"),
    ("intake", "a root of 33 bytes", 0, bytes(33)),
    ("intake", "a negative count", 1, -1),
    ("statement", "an id of 31 bytes", 2, bytes(31)),
    ("statement", "a negative position", 1, -1),
    ("succession", "an id of 31 bytes", 2, bytes(31)),
    ("proof", "another claim", 0, "theft"),
    ("proof", "three records", 1, [b"", b"", b""]),
    ("proof", "no records", 1, []),
    ("omission", "an entry larger than any", 2, bytes(24_705)),
    ("omission", "a path of 33 hashes", 4, [bytes(32)] * 33),
    ("omission", "a path with a hash of 31 bytes", 4, [bytes(31)]),
    ("stamp", "a relay of 31 bytes", 0, bytes(31)),
    ("stamp", "a nonce of 33 bytes", 2, bytes(33)),
]
"""Kind, name, and a field of the body with a value that it cannot have."""


def fields_of_evidence(
    said: dict[str, Record], keys: Callable[[Record], Keypair]
) -> list[tuple[str, str, bytes]]:
    """Return near misses in the fields of evidence."""
    made = []
    for kind, name, index, value in FIELDS:
        record = said[kind]
        items: list[Any] = msgspec.msgpack.decode(parts(record)[0])
        items[6][index] = value
        made.append((f"{kind}: {name}", "malformed", resigned(keys(record), items)))
    return made


def unknown_kind(keys: Keypair) -> list[tuple[str, str, bytes]]:
    """Return near misses of a kind that nobody knows yet."""
    bodies: list[tuple[str, bytes]] = [
        ("a float", codec.encode([1.5])),
        ("a map", codec.encode([{}])),
        ("an extension", b"\x91\xd4\x01\x00"),
        ("a timestamp", b"\x91\xd6\xff" + bytes(4)),
        ("2^53", codec.encode([2**53])),
        ("a longer integer", b"\x91\xcc\x01"),
        ("a longer text", b"\x91\xd9\x01x"),
        ("longer bytes", b"\x91\xc5\x00\x01x"),
        ("a longer array", b"\xdc\x00\x01\x01"),
        ("text in normal form D", codec.encode(["e\u0301"])),
        ("text that is no UTF-8", b"\x91\xa1\xff"),
        ("nine arrays deep", b"\x91" * 8 + b"\x90"),
        ("no array", codec.encode(5)),
    ]
    made = []
    for name, body in bodies:
        head = [codec.encode(item) for item in (1, "future", keys.agent, 0, b"", 5)]
        made.append((name, "malformed", wrapped(keys, b"\x97" + b"".join(head) + body)))
    zero = sha256(b"x").digest()
    for name, kind, seq, prev in [
        ("a kind in capitals", "Future", 0, b""),
        ("a kind without a name", "", 0, b""),
        ("a kind of 33 characters", "x" * 33, 0, b""),
        ("a log that begins without its genesis", "future", 1, bytes(32)),
        ("no predecessor", "future", 2, bytes(32)),
        ("a loose record with a predecessor", "future", 0, zero),
    ]:
        made.append((name, "malformed", resigned(keys, [1, kind, keys.agent, seq, prev, 5, []])))
    big = codec.encode([bytes(25_000)])
    head = [codec.encode(item) for item in (1, "future", keys.agent, 2, zero, 5)]
    logged = wrapped(keys, b"\x97" + b"".join(head) + big)
    return [*made, ("a log entry of more than 24 KiB", "too-large", logged)]


def without_secret() -> list[tuple[str, str, bytes]]:
    """Return records whose author is a point for which anyone can make signatures."""
    body = kinds.Decline(bytes(32), 0, "busy", 0)
    return [
        (name, "signature", codec.encode([
            codec.encode([1, "decline", key, 0, b"", 5, body]), b"\x01" + bytes(63),
        ]))
        for name, key in [
            ("the identity point as author", b"\x01" + bytes(31)),
            ("a point of order 4 as author", bytes(32)),
        ]
    ]  # fmt: skip
