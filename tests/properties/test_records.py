"""Whatever is said in whatever kind: it comes back as it was, or it is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from tests.strategies import ADA, BODIES, bodies, place, plain_values, raw_payload

from bazaar_protocol import codec, kinds, records
from bazaar_protocol.errors import BadSignature, MalformedRecord, RemoteError


@pytest.mark.parametrize("kind", sorted(kinds.KINDS))
@given(data=st.data())
def test_unseal_inverts_seal(kind: str, data: st.DataObject) -> None:
    body = data.draw(BODIES[kind])
    record = records.seal(ADA, body, **place(kind))
    again = records.unseal(record.raw)
    assert again == record
    assert (again.kind, again.body, again.author) == (kind, body, ADA.agent)
    assert {"time_ms": again.time_ms} | place(kind) == place(kind)
    assert records.record_id(record.raw) == again.id


@given(bodies(), st.data())
def test_no_flipped_bit_passes(body: kinds.Body, data: st.DataObject) -> None:
    record = records.seal(ADA, body, **place(kinds.KIND_OF_BODY[type(body)].name))
    bits = st.integers(0, len(record.raw) * 8 - 1)
    for bit in data.draw(st.lists(bits, min_size=1, max_size=20, unique=True)):
        raw = bytearray(record.raw)
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedRecord, BadSignature)):
            records.unseal(bytes(raw))


def test_no_flipped_bit_of_a_small_record_passes() -> None:
    body = kinds.Decline(bytes(32), 0, "busy", 5)
    raw = bytearray(records.seal(ADA, body, time_ms=5).raw)
    for bit in range(len(raw) * 8):
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedRecord, BadSignature)):
            records.unseal(bytes(raw))
        raw[bit // 8] ^= 1 << bit % 8


@given(bodies(), st.data())
def test_a_body_with_a_field_more_or_fewer_is_refused(
    body: kinds.Body, data: st.DataObject
) -> None:
    kind = kinds.KIND_OF_BODY[type(body)].name
    items: list[Any] = msgspec.msgpack.decode(codec.encode(body))
    where = {key: value for key, value in place(kind).items() if key != "time_ms"}
    for other in ([*items, data.draw(plain_values())], items[:-1], [items], []):
        with pytest.raises(MalformedRecord):
            records.unseal(raw_payload(ADA, kind, codec.encode(other), **where))


@given(plain_values())
def test_a_kind_from_the_future_is_kept_as_it_is(value: tuple[Any, ...]) -> None:
    record = records.unseal(raw_payload(ADA, "future", codec.encode(value)))
    assert record.body == records.Unknown(value)
    assert repr(record.body) == repr(records.Unknown(value))  # == takes True for 1
    assert hash(record) == hash(records.unseal(record.raw))


@given(st.binary(max_size=300))
def test_an_unknown_body_passes_only_in_the_one_encoding(body: bytes) -> None:
    try:
        record = records.unseal(raw_payload(ADA, "future", body))
    except MalformedRecord:
        return
    assert isinstance(record.body, records.Unknown)
    assert codec.encode(record.body.value) == body


@given(st.binary(max_size=400))
def test_garbage_raises_only_errors_that_blame_the_sender(raw: bytes) -> None:
    for read in (records.unseal, records.record_id):
        with pytest.raises(RemoteError):
            read(raw)


@given(bodies(), st.data())
def test_a_mutated_body_under_a_true_signature_is_the_same_or_refused(
    body: kinds.Body, data: st.DataObject
) -> None:
    """The author itself is hostile: what passes has one encoding, and what does not is blamed."""
    kind = kinds.KIND_OF_BODY[type(body)].name
    where = {key: value for key, value in place(kind).items() if key != "time_ms"}
    raw = bytearray(codec.encode(body))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        with_bytes = data.draw(st.binary(max_size=6))
        raw[at : at + data.draw(st.integers(0, 4))] = with_bytes
        raw = raw or bytearray(b"\x90")
    try:
        record = records.unseal(raw_payload(ADA, kind, bytes(raw), **where))
    except RemoteError:
        return
    assert codec.encode(record.body) == bytes(raw)
