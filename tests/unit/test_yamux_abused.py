"""What a peer may not do on a yamux session, and what it costs us if it does."""

from collections.abc import Callable

import pytest
from tests.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    PING,
    RST,
    SYN,
    UPDATE,
    WINDOW,
    drained,
    frame,
    opened,
    received,
)

from bazaar_host.yamux.breaches import Breach
from bazaar_host.yamux.events import (
    DataReceived,
    StreamOpened,
)
from bazaar_host.yamux.session import Session
from bazaar_protocol import limits
from bazaar_protocol.errors import BrokenSession


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
