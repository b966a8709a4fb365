"""Records that are refused, each for its own reason."""

import contextlib
import time
from hashlib import sha256

import msgspec
import pytest
from tests.strategies import ADA, array, make_post, raw_payload, sealed_payload

from bazaar_protocol import codec, evidence_kinds, fields, kinds, limits, records
from bazaar_protocol.errors import BadSignature, MalformedRecord, RemoteError, TooLarge

HEARTBEAT = kinds.Heartbeat(bytes(32), bytes(32), 1, 50, "half way")
PREV = sha256(b"before").digest()


def heartbeat_body(**changes: bytes) -> bytes:
    """A heartbeat's body, with items replaced by any bytes."""
    items = {
        "task": codec.encode(bytes(32)),
        "award": codec.encode(bytes(32)),
        "epoch": b"\x01",
        "progress": b"\x32",
        "note": codec.encode("half way"),
    }
    return array(*(items | changes).values())


def test_the_helper_makes_what_seal_makes() -> None:
    raw = raw_payload(ADA, "heartbeat", heartbeat_body())
    assert raw == records.seal(ADA, HEARTBEAT, time_ms=5).raw
    assert records.unseal(raw).body == HEARTBEAT


NOT_CANONICAL: dict[str, bytes] = {
    "uint8 for a small integer": heartbeat_body(epoch=b"\xcc\x01"),
    "uint16": heartbeat_body(epoch=b"\xcd\x00\x01"),
    "uint32": heartbeat_body(epoch=b"\xce" + bytes(3) + b"\x01"),
    "uint64": heartbeat_body(epoch=b"\xcf" + bytes(7) + b"\x01"),
    "signed integer": heartbeat_body(epoch=b"\xd0\x01"),
    "str8 for a short text": heartbeat_body(note=b"\xd9\x08half way"),
    "str16": heartbeat_body(note=b"\xda\x00\x08half way"),
    "bin16 for 32 bytes": heartbeat_body(task=b"\xc5\x00\x20" + bytes(32)),
    "bin32": heartbeat_body(task=b"\xc6" + bytes(3) + b"\x20" + bytes(32)),
    "array16": b"\xdc\x00\x05" + heartbeat_body()[1:],
    "array32": b"\xdd\x00\x00\x00\x05" + heartbeat_body()[1:],
    "bytes behind": heartbeat_body() + b"\xc0",
    "a field too many": b"\x96" + heartbeat_body()[1:] + b"\xc0",
    "a field too few": b"\x94" + heartbeat_body()[1 : -len(codec.encode("half way"))],
    "no fields": b"\x90",
    "an empty body": b"",
    "a map": codec.encode({"task": bytes(32)}),
    "a float": heartbeat_body(progress=b"\xcb\x40\x49" + bytes(6)),
    "a bool for an integer": heartbeat_body(epoch=b"\xc3"),
    "nil for an integer": heartbeat_body(epoch=b"\xc0"),
    "text for bytes": heartbeat_body(task=codec.encode("x" * 32)),
    "base64 for bytes": heartbeat_body(task=codec.encode("A" * 43 + "=")),
    "bytes for text": heartbeat_body(note=codec.encode(b"half way")),
    "a digit for an integer": heartbeat_body(epoch=codec.encode("1")),
    "31 bytes for an id": heartbeat_body(task=codec.encode(bytes(31))),
    "33 bytes for an id": heartbeat_body(task=codec.encode(bytes(33))),
    "epoch 0": heartbeat_body(epoch=b"\x00"),
    "a negative epoch": heartbeat_body(epoch=b"\xff"),
    "past 2^53-1": heartbeat_body(epoch=codec.encode(2**53)),
    "past 2^63": heartbeat_body(epoch=codec.encode(2**64 - 1)),
    "101 percent": heartbeat_body(progress=b"\x65"),
    "text that is no UTF-8": heartbeat_body(note=b"\xa2\xff\xfe"),
    "half of a surrogate pair": heartbeat_body(note=b"\xa3\xed\xa0\x80"),
    "overlong UTF-8": heartbeat_body(note=b"\xa2\xc0\x80"),
    "text in normal form D": heartbeat_body(note=codec.encode("e\u0301")),
    "too long a note": heartbeat_body(note=codec.encode("x" * 129)),
    "the unused first byte": heartbeat_body(note=b"\xc1"),
    "an extension": heartbeat_body(epoch=b"\xd4\x01\x01"),
    "a timestamp": heartbeat_body(epoch=b"\xd6\xff" + bytes(4)),
    "a bomb": heartbeat_body(note=b"\x91" * 60_000),
    "a huge length": heartbeat_body(note=b"\xdb\xff\xff\xff\xff"),
    "a huge count": b"\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_a_body_with_another_encoding_is_refused(name: str) -> None:
    with pytest.raises(MalformedRecord):
        records.unseal(raw_payload(ADA, "heartbeat", NOT_CANONICAL[name]))


def head(**changes: bytes) -> bytes:
    """A heartbeat's payload, with items of its head replaced by any bytes."""
    items = {
        "version": b"\x01",
        "kind": codec.encode("heartbeat"),
        "author": codec.encode(ADA.agent),
        "seq": b"\x00",
        "prev": codec.encode(b""),
        "time_ms": b"\x05",
        "body": heartbeat_body(),
    }
    return sealed_payload(ADA, array(*(items | changes).values()))


@pytest.mark.parametrize(
    "raw",
    [
        head(version=b"\x02"),
        head(version=b"\xc3"),
        head(version=b"\xcc\x01"),
        head(kind=codec.encode("Heartbeat")),
        head(kind=codec.encode("heart beat")),
        head(kind=codec.encode("heartbeat\n")),
        head(kind=codec.encode("")),
        head(kind=codec.encode("x" * 33)),
        head(kind=codec.encode(b"heartbeat")),
        head(author=codec.encode(ADA.agent + b"\x00")),
        head(author=codec.encode(ADA.agent[:31])),
        head(seq=b"\xff"),
        head(seq=b"\xcc\x00"),
        head(prev=codec.encode(PREV)),
        head(prev=b"\xc0"),
        head(time_ms=codec.encode(2**53)),
        head(time_ms=codec.encode(-1)),
        head(time_ms=b"\xcb" + bytes(8)),
        head() + b"\x00",
        head()[:-1],
        b"",
        b"\x92",
        b"\xc1",
        b"\x91" * 65_000,
        array(codec.encode(b""), codec.encode(bytes(64))),
        array(codec.encode("x"), codec.encode(bytes(64))),
        array(codec.encode(b"\x97"), codec.encode(bytes(63))),
        codec.encode([1, "heartbeat", ADA.agent, 0, b"", 5, []]),
    ],
)
def test_a_head_with_another_encoding_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRecord):
        records.unseal(raw)


def test_a_record_has_one_outer_form() -> None:
    record = records.seal(ADA, HEARTBEAT, time_ms=5)
    payload, signature = msgspec.msgpack.decode(record.raw)
    longer = array(b"\xc5" + len(payload).to_bytes(2, "big") + payload, codec.encode(signature))
    for raw in (longer, b"\xdc\x00\x02" + record.raw[1:], record.raw + b"\xc0"):
        with pytest.raises(MalformedRecord):
            records.unseal(raw)
        with pytest.raises(MalformedRecord):
            records.record_id(raw)
    assert records.record_id(record.raw) == record.id


@pytest.mark.parametrize(
    ("kind", "seq", "prev"),
    [
        ("heartbeat", 2, PREV),
        ("verdict", 0, b""),
        ("verdict", 2, b""),
        ("verdict", 2, PREV[:31]),
        ("verdict", 2, bytes(32)),
        ("verdict", 1, bytes(32)),
        ("genesis", 2, PREV),
        ("genesis", 0, b""),
        ("genesis", 1, PREV),
        ("future", 1, bytes(32)),
        ("future", 2, b""),
        ("future", 0, PREV),
    ],
)
def test_a_record_is_in_its_place_in_the_log_or_in_none(kind: str, seq: int, prev: bytes) -> None:
    bodies = {
        "genesis": kinds.Genesis(bytes(32)),
        "heartbeat": HEARTBEAT,
        "verdict": kinds.Verdict(bytes(32), fields.Link(bytes(32), 2, bytes(32)), 1, True, "", ()),
        "future": (),
    }
    raw = raw_payload(ADA, kind, codec.encode(bodies[kind]), seq=seq, prev=prev)
    with pytest.raises(MalformedRecord):
        records.unseal(raw)


@pytest.mark.parametrize(
    "body",
    [
        codec.encode({}),
        codec.encode([{}]),
        codec.encode([1.5]),
        b"\x91\xca" + bytes(4),
        b"\x91\xcb\x7f\xf8" + bytes(6),
        b"\x91\xd4\x01\x00",
        b"\x91\xd6\xff" + bytes(4),
        b"\x91\xc7\x00\x05",
        b"\x91\xc1",
        codec.encode([2**53]),
        codec.encode([-(2**53)]),
        b"\x91\xd3\x80" + bytes(7),
        b"\x91\xcc\x7f",
        b"\x91\xd0\xff",
        b"\x91\xd1\xff\xf0",
        codec.encode(["e\u0301"]),
        b"\x91\xd9\x01x",
        b"\x91\xc5\x00\x01x",
        b"\x91\xa1\xff",
        b"\xdc\x00\x01\x01",
        b"\xdd\x00\x00\x00\x01\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xdd\xff\xff\xff\xff",
        b"\x92\x01",
        b"\x91\x01\x01",
        b"\x91\xc6\xff\xff\xff\xff",
        b"\x91" * 9 + b"\x01",
        b"\x91" * 8 + b"\x90",
        b"",
        b"\x01",
        b"\xc0",
    ],
)
def test_the_body_of_an_unknown_kind_is_judged_as_strictly(body: bytes) -> None:
    with pytest.raises(MalformedRecord):
        records.unseal(raw_payload(ADA, "future", body))


def test_arrays_nested_as_deep_as_allowed_pass() -> None:
    record = records.unseal(raw_payload(ADA, "future", b"\x91" * 7 + b"\x90"))
    assert record.body == records.Unknown(((((((((),),),),),),),))
    assert hash(record.body)


@pytest.mark.parametrize(
    "body",
    [
        b"\x91" * 60_000,
        b"\xdd\x00\x01\x00\x00" * 12_000,
        b"\xdc\xff\xff" * 20_000,
        b"\xdc\xea\x60" + b"\x90" * 60_000,
        codec.encode([1] * 60_000),
        codec.encode([b"\x91" * 60_000]),
        b"\x81" * 60_000,
        codec.encode(["a" + "\u0323\u0307" * 15_000]),
        codec.encode(["\u0308" * 30_000]),
    ],
    ids=["fix", "array32", "array16", "wide", "integers", "bytes", "maps", "marks", "joiners"],
)
@pytest.mark.parametrize("kind", ["future", "heartbeat"])
def test_no_body_takes_long(kind: str, body: bytes) -> None:
    raw = raw_payload(ADA, kind, body)
    spent: list[float] = []
    for _ in range(5):
        start = time.process_time()
        with contextlib.suppress(MalformedRecord):
            records.unseal(raw)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.5  # seconds; a bomb takes minutes


def test_sizes_are_refused_before_decoding() -> None:
    with pytest.raises(TooLarge):
        records.unseal(b"\x91" * (limits.RECORD_BYTES_MAX + 1))
    fits = codec.encode([bytes(limits.PAYLOAD_BYTES_MAX - 100)])
    assert records.unseal(raw_payload(ADA, "future", fits)).kind == "future"
    with pytest.raises(RemoteError):
        records.unseal(raw_payload(ADA, "future", codec.encode([bytes(limits.PAYLOAD_BYTES_MAX)])))


def test_a_log_entry_is_small_enough_for_two_to_fit_into_a_proof() -> None:
    body = codec.encode([bytes(limits.LOGGED_PAYLOAD_BYTES_MAX - 100)])
    first = raw_payload(ADA, "future", body, seq=2, prev=PREV)
    second = raw_payload(ADA, "future2", body, seq=2, prev=PREV)
    assert records.unseal(first).seq == 2
    proof = records.seal(ADA, evidence_kinds.Proof("equivocation", (first, second)), time_ms=5)
    assert records.unseal(proof.raw) == proof
    body = codec.encode([bytes(limits.LOGGED_PAYLOAD_BYTES_MAX)])
    with pytest.raises(TooLarge):
        records.unseal(raw_payload(ADA, "future", body, seq=2, prev=PREV))


@pytest.mark.parametrize(
    "body",
    [
        make_post(title="e\u0301"),
        make_post(title="\ud800"),
        make_post(title="x" * (limits.TEXT_CHARS_MAX + 1)),
        make_post(tags=("",)),
        make_post(tags=("e\u0301",)),
        make_post(tags=("x",) * (limits.TAGS_MAX + 1)),
        make_post(addresses=("e\u0301",)),
        make_post(price=2**53),
        make_post(price=2**70),
        make_post(price=-1),
        make_post(price=True),
        make_post(price=1.0),
        make_post(canary=b"x"),
        make_post(canary=bytes(31)),
        make_post(capability="PDF"),
        make_post(capability="pdf..extract"),
        make_post(capability=".pdf"),
        make_post(capability="pdf."),
        make_post(capability=""),
        make_post(capability="pdf\n"),
        make_post(capability="a" * 129),
        make_post(mode="gift"),
        make_post(sequencer=b""),
        make_post(worker=b""),
        kinds.Bid(bytes(32), None, bytes(limits.SEALED_BYTES_MAX + 1), bytes(32)),
        kinds.Bid(bytes(32), None, b"", bytes(5)),
    ],
)
def test_seal_refuses_what_every_reader_would_refuse(body: kinds.Body) -> None:
    with pytest.raises(MalformedRecord):
        records.seal(ADA, body, time_ms=5)


def test_a_reason_is_one_short_line_whatever_the_stranger_wrote() -> None:
    body = array(codec.encode(bytes(32)), b"\x00", codec.encode("no\n\x1b[31m" * 5_000), b"\x00")
    with pytest.raises(MalformedRecord) as caught:
        records.unseal(raw_payload(ADA, "decline", body))
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_a_signature_over_the_same_bytes_for_another_purpose_is_refused() -> None:
    record = records.seal(ADA, HEARTBEAT, time_ms=5)
    payload, _ = msgspec.msgpack.decode(record.raw)
    for domain in (b"", b"bazaar/letter/1\x00", b"bazaar/record/2\x00"):
        raw = array(codec.encode(payload), codec.encode(ADA.sign(domain, payload)))
        with pytest.raises(BadSignature):
            records.unseal(raw)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_an_author_without_a_secret_is_refused(key: bytes) -> None:
    """With the identity point as key, R = that point and S = 0 verifies any message elsewhere."""
    items = [1, "heartbeat", key, 0, b"", 5, HEARTBEAT]
    payload = codec.encode(items)
    signature = b"\x01" + bytes(63)
    with pytest.raises(BadSignature):
        records.unseal(array(codec.encode(payload), codec.encode(signature)))
