"""Frames: each comes back as it was, garbage blames its sender, and the greatest ones fit."""

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, strategies as st
from tests.strategies import FRAMES, all_frames, structs

from bazaar_protocol import codec, frames, limits
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.framing import pack

READERS: list[tuple[Callable[[bytes], Any], Any]] = [
    (frames.decode_to_relay, get_args(frames.ToRelay)),
    (frames.decode_from_relay, get_args(frames.FromRelay)),
    (frames.decode_between_nodes, get_args(frames.BetweenNodes)),
]
RECORD = bytes(limits.RECORD_BYTES_MAX)
LABEL = "\U0001f600" * limits.NAME_CHARS_MAX
TEXT = "\U0001f600" * limits.TEXT_CHARS_MAX
HUGE = limits.INTEGER_MAX
KEY = bytes(32)
FILTER = frames.Filter((LABEL,) * 64, LABEL, (KEY,) * 64, (LABEL,) * 64, (KEY,) * 64, (KEY,) * 64)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.__name__)
@given(data=st.data())
def test_a_frame_reads_back_for_those_who_expect_it(frame: type, data: st.DataObject) -> None:
    value = data.draw(structs(frame))
    raw = frames.encode_frame(value)
    readers = [read for read, expected in READERS if frame in expected]
    assert readers
    for read in readers:
        assert read(raw) == value
    for read, expected in READERS:
        if frame not in expected:
            with pytest.raises(MalformedRecord):
                read(raw)


@given(all_frames(), st.data())
def test_a_mutated_frame_is_the_same_or_refused(frame: Any, data: st.DataObject) -> None:
    raw = bytearray(frames.encode_frame(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=5))
        raw = raw or bytearray(b"\x90")
    for read, _ in READERS:
        try:
            value = read(bytes(raw))
        except MalformedRecord:
            continue
        assert frames.encode_frame(value) == bytes(raw)


@given(st.binary(max_size=300))
def test_garbage_is_malformed(raw: bytes) -> None:
    for read, _ in READERS:
        with pytest.raises(MalformedRecord):
            read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x90",
        b"\xc0",
        b"\x91" * 100_000,
        b"\x92\xa4ping" + b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        codec.encode(["ping"]),
        codec.encode(["ping", 1, 2]),
        codec.encode(["ping", "1"]),
        codec.encode(["ping", -1]),
        codec.encode(["ping", 2**53]),
        codec.encode(["ping", True]),
        codec.encode([b"ping", 1]),
        codec.encode(["PING", 1]),
        codec.encode(["unknown", 1]),
        codec.encode({"ping": 1}),
        codec.encode(["publish", 1, [b""] * (limits.RECORDS_PER_FRAME_MAX + 1)]),
        codec.encode(["publish", 1, [bytes(limits.RECORD_BYTES_MAX + 1)]]),
        codec.encode(["publish", 1, ["text"]]),
        codec.encode(["collect", 1, [1] * (limits.LETTERS_PER_AGENT_MAX + 1)]),
        codec.encode(["mail", 1, KEY, bytes(limits.LETTER_BYTES_MAX + 1)]),
        codec.encode(["mail", 1, KEY[:31], b""]),
        codec.encode(["inclusion", 1, b""]),
        codec.encode(["state", 1, KEY[:31]]),
        codec.encode(["query", 1, "", "", "", 0]),
        codec.encode(["query", 1, "", "", "", limits.PAGE_MAX + 1]),
        codec.encode(["query", 1, "", "x" * (limits.QUERY_CHARS_MAX + 1), "", 1]),
        codec.encode(["subscribe", 1, [[[], "", [], [], []]], 0]),
        codec.encode(["subscribe", 1, [[]], 0]),
        codec.encode(["subscribe", 1, [frames.Filter()] * 33, 0]),
        codec.encode(["subscribe", 1, [frames.Filter(to=(KEY,) * 65)], 0]),
        codec.encode(["subscribe", 1, [frames.Filter(kinds=("x" * 129,))], 0]),
        codec.encode(frames.Ping(1)) + b"\x00",
        bytes(limits.FRAME_BYTES_MAX + 1),
    ],
)
def test_what_is_past_a_limit_or_out_of_form_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedRecord) as caught:
        frames.decode_to_relay(raw)
    assert len(str(caught.value)) < 250


def test_a_filter_spells_out_what_it_leaves_open() -> None:
    """Python lets one leave out parts of a filter; on the wire all six stand."""
    raw = frames.encode_frame(frames.Subscribe(1, (frames.Filter(),), 0))
    assert msgspec.msgpack.decode(raw) == ["subscribe", 1, [[[], "", [], [], [], []]], 0]
    assert frames.decode_to_relay(raw) == frames.Subscribe(1, (frames.Filter(),), 0)


@pytest.mark.parametrize(
    "frame",
    [
        frames.Hello(HUGE, LABEL, (LABEL,) * 64),
        frames.Welcome(HUGE, LABEL, (LABEL,) * 64, KEY, HUGE, bytes(16 * limits.KIB)),
        frames.Publish(HUGE, (RECORD,)),
        frames.Published(HUGE, (TEXT,)),
        frames.Published(HUGE, ("storage: " + "x" * 400,) * limits.RECORDS_PER_FRAME_MAX),
        frames.Subscribe(
            HUGE, (frames.Filter((LABEL,) * 64, LABEL, (KEY,) * 64, (LABEL,) * 64),), 0
        ),
        frames.Event(HUGE, RECORD),
        frames.Query(HUGE, LABEL, "\U0001f600" * limits.QUERY_CHARS_MAX, LABEL, 256),
        frames.Adverts(HUGE, (RECORD,), LABEL),
        frames.Segment(HUGE, (RECORD,), HUGE, True),
        frames.Included(HUGE, RECORD, HUGE, (KEY,) * limits.INCLUSION_PATH_MAX),
        frames.Stated(HUGE, RECORD),
        frames.Claimed(HUGE, RECORD),
        frames.Mail(HUGE, KEY, bytes(limits.LETTER_BYTES_MAX)),
        frames.Letter(HUGE, bytes(limits.LETTER_BYTES_MAX)),
        frames.Collect(HUGE, (HUGE,) * limits.LETTERS_PER_AGENT_MAX),
        frames.Chunk(HUGE, HUGE, HUGE, bytes(limits.CHUNK_BYTES)),
        frames.Error(HUGE, LABEL, TEXT),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_the_greatest_frame_with_one_of_each_fits(frame: frames.Frame) -> None:
    raw = frames.encode_frame(frame)
    assert pack(raw)
    assert [read(raw) for read, expected in READERS if type(frame) in expected]
