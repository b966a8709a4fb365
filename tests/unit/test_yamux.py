"""One side of a yamux session, byte by byte against the specification, and against abuse of it."""

import struct
from collections.abc import Callable

import pytest

from bazaar_host.yamux.breaches import Breach
from bazaar_host.yamux.events import (
    DataReceived,
    Event,
    SessionEnded,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from bazaar_host.yamux.keepalive import Keepalive, Verdict
from bazaar_host.yamux.session import Session
from bazaar_protocol import limits
from bazaar_protocol.errors import BrokenSession

WINDOW = limits.YAMUX_WINDOW_BYTES
MESSAGE = 65_519
DATA, UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8


def frame(kind: int, flags: int, stream: int, length: int = 0, body: bytes = b"") -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, length or len(body)) + body


def drained(session: Session) -> bytes:
    """Everything that a session has to send, as one write."""
    parts: list[bytes] = []
    while data := session.outgoing(MESSAGE).data:
        parts.append(data)
    return b"".join(parts)


def received(session: Session, *raw: bytes) -> list[Event]:
    return list(session.receive(b"".join(raw)))


@pytest.fixture
def dialer() -> Session:
    return Session(is_initiator=True)


@pytest.fixture
def listener() -> Session:
    return Session(is_initiator=False)


def opened(listener: Session, number: int = 1) -> None:
    """Have the peer open a stream, and answer it."""
    assert received(listener, frame(UPDATE, SYN, number)) == [StreamOpened(number)]
    drained(listener)


# What is on the wire.


def test_dialers_open_odd_streams_and_listeners_even_ones(
    dialer: Session, listener: Session
) -> None:
    assert [dialer.open(), dialer.open()] == [1, 3]
    assert [listener.open(), listener.open()] == [2, 4]
    assert drained(dialer) == frame(UPDATE, SYN, 1) + frame(UPDATE, SYN, 3)


def test_data_follows_the_opening_without_waiting_for_an_answer(dialer: Session) -> None:
    stream = dialer.open()
    dialer.send(stream, b"he")
    dialer.send(stream, b"llo")
    dialer.finish(stream)
    assert drained(dialer) == (
        frame(UPDATE, SYN, 1) + frame(DATA, 0, 1, body=b"hello") + frame(UPDATE, FIN, 1)
    )


def test_streams_of_the_peer_are_acknowledged(listener: Session) -> None:
    arrived = received(listener, frame(DATA, SYN, 1, body=b"hello"), frame(UPDATE, FIN, 1))
    assert arrived == [StreamOpened(1), DataReceived(1, b"hello"), StreamFinished(1)]
    assert drained(listener) == frame(UPDATE, ACK, 1)


def test_flags_of_a_data_frame_count_after_its_body(listener: Session) -> None:
    arrived = received(listener, frame(DATA, SYN | FIN, 1, 5, b"he"))
    assert arrived == [StreamOpened(1), DataReceived(1, b"he")]
    assert received(listener, b"llo") == [DataReceived(1, b"llo"), StreamFinished(1)]


def test_pings_are_answered_with_their_value_and_answers_are_not(listener: Session) -> None:
    assert received(listener, frame(PING, SYN, 0, 77), frame(PING, ACK, 0, 78)) == []
    assert drained(listener) == frame(PING, ACK, 0, 77)
    listener.ping(5)
    assert drained(listener) == frame(PING, SYN, 0, 5)


def test_both_sides_can_end_a_session(listener: Session) -> None:
    opened(listener)
    listener.send(1, b"too late")
    listener.go_away(1)
    assert drained(listener) == frame(GO_AWAY, 0, 0, 1)
    assert received(listener, frame(GO_AWAY, 0, 0, 2)) == [SessionEnded(2)]
    listener.ping(1)
    listener.go_away(1)
    assert not listener.has_outgoing


def test_large_data_fits_into_messages_and_waits_for_the_window(dialer: Session) -> None:
    stream = dialer.open()
    dialer.send(stream, bytes(300_000))
    sizes: list[int] = []
    while (outgoing := dialer.outgoing(MESSAGE)).data:
        assert len(outgoing.data) <= MESSAGE
        sizes += [size for _, size in outgoing.sent]
    assert sum(sizes) == WINDOW
    assert sizes[1] == 65_507
    assert dialer.unsent(stream) == 300_000 - WINDOW
    received(dialer, frame(UPDATE, ACK, 1, 10_000))
    assert len(drained(dialer)) == 12 + 10_000
    received(dialer, frame(UPDATE, 0, 1, WINDOW))
    drained(dialer)
    assert dialer.unsent(stream) == 0


def test_streams_take_turns(dialer: Session) -> None:
    bulky, small = dialer.open(), dialer.open()
    dialer.send(bulky, bytes(WINDOW))
    dialer.send(small, b"quick")
    first = dialer.outgoing(MESSAGE).sent
    second = dialer.outgoing(MESSAGE).sent
    assert [stream for stream, _ in first] == [bulky]
    assert second[0] == (small, 5)
    assert second[1][0] == bulky


def test_window_is_given_back_by_halves(listener: Session) -> None:
    opened(listener)
    received(listener, frame(DATA, 0, 1, body=bytes(WINDOW)))
    listener.take(1, WINDOW // 2 - 1)
    assert drained(listener) == b""
    listener.take(1, 1)
    assert drained(listener) == frame(UPDATE, 0, 1, WINDOW // 2)
    assert received(listener, frame(DATA, 0, 1, body=bytes(WINDOW // 2)))
    with pytest.raises(BrokenSession):
        received(listener, frame(DATA, 0, 1, body=b"x"))


def test_nothing_is_given_back_to_who_has_finished(listener: Session) -> None:
    opened(listener)
    received(listener, frame(DATA, FIN, 1, body=bytes(WINDOW)))
    listener.take(1, WINDOW)
    assert drained(listener) == b""


# How streams end.


def test_stream_is_over_when_both_sides_have_finished(listener: Session) -> None:
    opened(listener)
    received(listener, frame(UPDATE, FIN, 1))
    listener.send(1, b"last words")
    listener.finish(1)
    assert listener.inbound == 1
    assert drained(listener) == frame(DATA, 0, 1, body=b"last words") + frame(UPDATE, FIN, 1)
    assert listener.inbound == 0


def test_finishing_twice_says_so_once(dialer: Session) -> None:
    stream = dialer.open()
    dialer.finish(stream)
    dialer.finish(stream)
    assert drained(dialer) == frame(UPDATE, SYN, 1) + frame(UPDATE, FIN, 1)
    dialer.finish(stream)
    assert drained(dialer) == b""
    assert received(dialer, frame(UPDATE, FIN, 1), frame(UPDATE, FIN, 1)) == [StreamFinished(1)]


def test_resetting_forgets_what_is_queued(listener: Session) -> None:
    opened(listener)
    listener.send(1, bytes(100))
    listener.reset(1)
    assert drained(listener) == frame(UPDATE, RST, 1)
    assert listener.inbound == 0
    # The peer did not know yet.
    assert received(listener, frame(DATA, FIN, 1, body=b"late"), frame(UPDATE, 0, 1, 9)) == []


def test_body_whose_stream_is_reset_meanwhile_is_skipped(listener: Session) -> None:
    opened(listener)
    assert received(listener, frame(DATA, 0, 1, 6, b"abc")) == [DataReceived(1, b"abc")]
    listener.reset(1)
    assert received(listener, b"def", frame(UPDATE, SYN, 3)) == [StreamOpened(3)]


def test_peer_never_hears_of_a_stream_that_was_reset_before_it_was_opened(dialer: Session) -> None:
    dialer.reset(dialer.open())
    assert drained(dialer) == b""


def test_stream_reset_by_the_peer_keeps_its_place_until_it_is_let_go(listener: Session) -> None:
    opened(listener)
    listener.send(1, bytes(100))
    assert received(listener, frame(UPDATE, RST, 1)) == [StreamReset(1)]
    assert received(listener, frame(UPDATE, FIN | RST, 1)) == []
    assert (listener.inbound, listener.unsent(1), listener.has_outgoing) == (1, 0, False)
    listener.send(1, b"nobody reads this")
    listener.reset(1)
    assert (listener.inbound, listener.has_outgoing) == (0, False)


@pytest.mark.parametrize("finish_first", [False, True])
def test_finishing_a_stream_that_was_reset_lets_it_go(
    listener: Session, finish_first: bool
) -> None:
    opened(listener)
    if finish_first:
        listener.send(1, bytes(WINDOW + 1))
        listener.finish(1)
        drained(listener)
    received(listener, frame(UPDATE, RST, 1))
    assert listener.inbound == (0 if finish_first else 1)
    listener.finish(1)
    assert (listener.inbound, listener.has_outgoing) == (0, False)


def test_end_is_announced_after_all_that_the_window_held_back(dialer: Session) -> None:
    stream = dialer.open()
    dialer.send(stream, bytes(WINDOW + 1))
    dialer.finish(stream)
    fin = frame(UPDATE, FIN, 1)
    assert not drained(dialer).endswith(fin)
    received(dialer, frame(UPDATE, 0, 1, 1))
    assert drained(dialer) == frame(DATA, 0, 1, body=b"\0") + fin


# What a peer may not do.


def overrun(session: Session) -> bytes:
    opened(session)
    return frame(DATA, 0, 1, body=bytes(WINDOW - 10)) + frame(DATA, 0, 1, 11)


def taken_in_time(session: Session) -> bytes:
    opened(session)
    received(session, frame(DATA, 0, 1, body=bytes(100)))
    session.take(1, 100)  # not yet given back
    return frame(DATA, 0, 1, WINDOW - 99)


def after_the_end(session: Session) -> bytes:
    opened(session)
    return frame(UPDATE, FIN, 1) + frame(DATA, 0, 1, body=b"x")


def already_open(session: Session) -> bytes:
    opened(session)
    return frame(UPDATE, SYN, 1)


def reset_but_not_let_go(session: Session) -> bytes:
    opened(session)
    return frame(UPDATE, RST, 1) + frame(UPDATE, SYN, 1)


def too_wide(session: Session) -> bytes:
    opened(session)
    return frame(UPDATE, 0, 1, 2**32 - 1 - WINDOW) + frame(UPDATE, 0, 1, 1)


Prepare = Callable[[Session], bytes]


@pytest.mark.parametrize(
    ("prepare", "breach"),
    [
        (lambda _: b"\1" + bytes(11), Breach.VERSION),
        (lambda _: frame(4, 0, 1), Breach.TYPE),
        (lambda _: frame(PING, 0, 0), Breach.TYPE),
        (lambda _: frame(PING, SYN, 1), Breach.STREAM),
        (lambda _: frame(GO_AWAY, 0, 1), Breach.STREAM),
        (lambda _: frame(DATA, SYN, 0), Breach.STREAM),
        (lambda _: frame(UPDATE, SYN, 2), Breach.STREAM),
        (already_open, Breach.STREAM),
        (reset_but_not_let_go, Breach.STREAM),
        (lambda _: frame(DATA, SYN, 1, WINDOW + 1), Breach.WINDOW),
        (lambda _: frame(DATA, 0, 99, 2**32 - 1), Breach.WINDOW),
        (overrun, Breach.WINDOW),
        (taken_in_time, Breach.WINDOW),
        (too_wide, Breach.WINDOW_SIZE),
        (after_the_end, Breach.DATA_AFTER_END),
    ],
)
def test_breach_is_named(listener: Session, prepare: Prepare, breach: Breach) -> None:
    raw = prepare(listener)
    with pytest.raises(BrokenSession) as caught:
        received(listener, raw)
    assert caught.value.breach == breach
    listener.go_away(1)
    assert drained(listener) == frame(GO_AWAY, 0, 0, 1)


def test_what_came_before_a_breach_is_told(listener: Session) -> None:
    opened(listener)
    events = listener.receive(frame(DATA, 0, 1, body=b"fine") + frame(9, 0, 1))
    assert next(events) == DataReceived(1, b"fine")
    with pytest.raises(BrokenSession):
        next(events)


def test_streams_past_the_bound_are_reset_and_what_is_sent_on_them_is_skipped() -> None:
    listener = Session(is_initiator=False, inbound_max=2)
    arrived = received(
        listener,
        frame(UPDATE, SYN, 1),
        frame(UPDATE, SYN, 3),
        frame(DATA, SYN, 5, body=b"hello?"),
        frame(DATA, FIN, 5, body=b"hello?"),
    )
    assert arrived == [StreamOpened(1), StreamOpened(3)]
    assert drained(listener) == (
        frame(UPDATE, RST, 5) + frame(UPDATE, ACK, 1) + frame(UPDATE, ACK, 3)
    )
    listener.reset(1)
    assert received(listener, frame(UPDATE, SYN, 7)) == [StreamOpened(7)]


def test_peer_cannot_free_places_by_resetting_its_own_streams() -> None:
    listener = Session(is_initiator=False, inbound_max=2)
    pairs = [frame(UPDATE, SYN, n) + frame(UPDATE, RST, n) for n in range(1, 2001, 2)]
    arrived = received(listener, *pairs)
    assert [event for event in arrived if isinstance(event, StreamOpened)] == [
        StreamOpened(1),
        StreamOpened(3),
    ]


def rounds_until_flood(step: Callable[[int], object]) -> int:
    for number in range(20_000):
        try:
            step(number)
        except BrokenSession as error:
            breach = error.breach
        else:
            continue
        assert breach == Breach.FLOOD
        return number
    raise AssertionError("nothing ended it")


@pytest.mark.parametrize(
    "ask",
    [
        lambda number: frame(PING, SYN, 0, number),
        lambda number: frame(UPDATE, SYN, 2 * number + 1),
    ],
    ids=["pings", "streams"],
)
def test_answers_that_are_not_read_end_the_session(
    listener: Session, ask: Callable[[int], bytes]
) -> None:
    count = rounds_until_flood(lambda number: received(listener, ask(number)))
    assert count <= limits.YAMUX_ANSWERS_MAX + limits.YAMUX_STREAMS_INBOUND_MAX


def test_streams_that_we_reset_do_not_pile_up_answers(listener: Session) -> None:
    def open_and_reset(number: int) -> None:
        received(listener, frame(UPDATE, SYN, 2 * number + 1))
        listener.reset(2 * number + 1)

    assert rounds_until_flood(open_and_reset) <= limits.YAMUX_ANSWERS_MAX


def test_answers_that_are_read_may_be_any_number(listener: Session) -> None:
    for number in range(5 * limits.YAMUX_ANSWERS_MAX):
        received(listener, frame(PING, SYN, 0, number))
        assert drained(listener) == frame(PING, ACK, 0, number)


def test_announced_bytes_are_not_waited_for_in_memory(listener: Session) -> None:
    opened(listener)
    received(listener, frame(DATA, 0, 1, WINDOW))
    for _ in range(1000):
        assert received(listener, b"x") == [DataReceived(1, b"x")]


# Whether the peer is there.


def test_silence_leads_to_a_question_and_then_to_an_end() -> None:
    watch = Keepalive(now=100.0)
    assert watch.due_at == 120.0
    assert watch.judge(119.9) is Verdict.WAIT
    assert watch.judge(120.0) is Verdict.ASK
    assert watch.due_at == 135.0
    assert watch.judge(134.9) is Verdict.WAIT
    assert watch.judge(135.0) is Verdict.GIVE_UP


def test_any_sign_of_life_starts_over() -> None:
    watch = Keepalive(now=100.0)
    watch.heard(110.0)
    assert watch.judge(125.0) is Verdict.WAIT
    assert watch.judge(130.0) is Verdict.ASK
    watch.heard(131.0)
    assert watch.due_at == 151.0
    assert watch.judge(145.0) is Verdict.WAIT
