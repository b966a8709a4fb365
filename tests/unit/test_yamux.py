"""One side of a yamux session, byte by byte against the specification."""

import pytest
from tests.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    MESSAGE,
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

from bazaar_host.yamux.events import (
    DataReceived,
    SessionEnded,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from bazaar_host.yamux.session import Session
from bazaar_protocol.errors import BrokenSession

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
