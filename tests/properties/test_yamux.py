"""Two sides of a session agree however bytes are cut; one alone survives whatever arrives."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
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
)

from bazaar_host.yamux.breaches import Breach
from bazaar_host.yamux.events import (
    DataReceived,
    Event,
    SessionEnded,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from bazaar_host.yamux.session import Session
from bazaar_protocol.errors import BrokenSession

INBOUND_MAX = 4
PATTERN = random.Random(1).randbytes(2**20)


# Two honest sides.


@dataclass
class Half:
    """One direction of a stream: what was sent into it, and what came out."""

    sent: int = 0
    arrived: int = 0
    taken: int = 0
    is_finished: bool = False
    is_finish_seen: bool = False

    def send(self, size: int) -> bytes:
        data = PATTERN[self.sent : self.sent + size]
        self.sent += len(data)
        return data

    def arrive(self, data: bytes) -> None:
        assert data == PATTERN[self.arrived : self.arrived + len(data)]
        assert not self.is_finish_seen
        self.arrived += len(data)


@dataclass
class Side:
    """A session, what it has written and the other has not read, and what it does with streams."""

    session: Session
    written: bytearray = field(default_factory=bytearray)
    out: dict[int, Half] = field(default_factory=dict)
    """Streams that this side may still send on."""
    let_go: set[int] = field(default_factory=set)
    """Streams that this side has reset, or has seen reset."""


class TwoSides(RuleBasedStateMachine):
    """Whatever two sides do, and however late they read, what is sent arrives, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = [
            Side(Session(is_initiator=initiator, inbound_max=INBOUND_MAX))
            for initiator in (True, False)
        ]
        self.halves: dict[tuple[int, int], Half] = {}
        """Of each side and stream: what that side sends."""

    def stream(self, data: st.DataObject, of: Side) -> int:
        return data.draw(st.sampled_from(sorted(of.out)))

    @rule(number=st.integers(0, 1))
    def open(self, number: int) -> None:
        side = self.sides[number]
        if len(side.out) < 2 * INBOUND_MAX:
            self._know(number, side.session.open())

    @precondition(lambda self: any(side.out for side in self.sides))
    @rule(data=st.data(), size=st.sampled_from([1, 300, 65_507, 100_000]))
    def send(self, data: st.DataObject, size: int) -> None:
        number, side = self._busy(data)
        stream = self.stream(data, side)
        half = self.halves[number, stream]
        if not half.is_finished:
            side.session.send(stream, half.send(size))

    @precondition(lambda self: any(side.out for side in self.sides))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        number, side = self._busy(data)
        stream = self.stream(data, side)
        self.halves[number, stream].is_finished = True
        side.session.finish(stream)

    @precondition(lambda self: any(side.out for side in self.sides))
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        _, side = self._busy(data)
        stream = self.stream(data, side)
        side.session.reset(stream)
        self._let_go(side, stream)

    @rule(number=st.integers(0, 1), value=st.integers(0, 2**32 - 1))
    def ping(self, number: int, value: int) -> None:
        self.sides[number].session.ping(value)

    @rule(number=st.integers(0, 1), size_max=st.sampled_from([48, 100, 65_519]))
    def write(self, number: int, size_max: int) -> None:
        data, sent = self.sides[number].session.outgoing(size_max)
        assert len(data) <= size_max
        assert sum(size for _, size in sent) <= len(data)
        self.sides[number].written += data

    @rule(number=st.integers(0, 1), size=st.sampled_from([1, 11, 13, 5_000, 10**6]))
    def read(self, number: int, size: int) -> None:
        writer, reader = self.sides[1 - number], self.sides[number]
        data = bytes(writer.written[:size])
        del writer.written[:size]
        for event in reader.session.receive(data):
            self._on_event(number, event)

    @rule(data=st.data(), number=st.integers(0, 1))
    def take(self, data: st.DataObject, number: int) -> None:
        if waiting := [
            (stream, half)
            for (sender, stream), half in self.halves.items()
            if sender != number and half.arrived > half.taken
        ]:
            stream, half = data.draw(st.sampled_from(waiting))
            size = data.draw(st.integers(1, half.arrived - half.taken))
            half.taken += size
            self.sides[number].session.take(stream, size)

    @invariant()
    def windows_hold(self) -> None:
        for half in self.halves.values():
            assert half.arrived - half.taken <= WINDOW

    @invariant()
    def peers_have_no_more_streams_than_they_may(self) -> None:
        assert all(side.session.inbound <= INBOUND_MAX for side in self.sides)

    def teardown(self) -> None:
        self._settle()
        for (number, stream), half in self.halves.items():
            if not any(stream in side.let_go for side in self.sides):
                assert half.arrived == half.sent
                assert half.is_finish_seen == half.is_finished
            self.sides[number].session.reset(stream)
        self._settle()
        assert [side.session.inbound for side in self.sides] == [0, 0]
        assert not any(side.session.has_outgoing for side in self.sides)

    def _settle(self) -> None:
        while any(side.session.has_outgoing or side.written for side in self.sides):
            for number in range(2):
                self.write(number, 65_519)
                self.read(1 - number, 10**6)
                for (sender, stream), half in self.halves.items():
                    if sender == number:
                        self.sides[1 - number].session.take(stream, half.arrived - half.taken)
                        half.taken = half.arrived

    def _busy(self, data: st.DataObject) -> tuple[int, Side]:
        return data.draw(st.sampled_from([pair for pair in enumerate(self.sides) if pair[1].out]))

    def _know(self, number: int, stream: int) -> None:
        half = self.halves[number, stream] = Half()
        self.sides[number].out[stream] = half

    def _let_go(self, side: Side, stream: int) -> None:
        side.let_go.add(stream)
        del side.out[stream]

    def _on_event(self, number: int, event: Event) -> None:
        side = self.sides[number]
        match event:
            case StreamOpened(stream):
                self._know(number, stream)
            case DataReceived(stream, data):
                self.halves[1 - number, stream].arrive(data)
            case StreamFinished(stream):
                half = self.halves[1 - number, stream]
                assert half.is_finished
                assert half.arrived == half.sent
                half.is_finish_seen = True
            case StreamReset(stream):
                side.session.reset(stream)
                self._let_go(side, stream)
            case _:
                raise AssertionError("nobody ends the session")


def test_two_sides_agree() -> None:
    run_state_machine_as_test(TwoSides, settings=settings(stateful_step_count=60))


# One side, and a peer that may send anything.


@dataclass
class Sent:
    """A frame of a peer."""

    kind: int
    flags: int
    stream: int
    length: int

    @property
    def raw(self) -> bytes:
        body = PATTERN[: self.length] if self.kind == DATA and self.length <= WINDOW else b""
        return frame(self.kind, self.flags, self.stream, self.length, body)


frames = st.builds(
    Sent,
    kind=st.sampled_from([DATA, DATA, DATA, UPDATE, UPDATE, PING, GO_AWAY, 4]),
    flags=st.sampled_from([0, 0, 0, SYN, SYN, SYN, ACK, FIN, RST, SYN | FIN, SYN | RST, 0xFFF0]),
    stream=st.sampled_from([0, 1, 1, 1, 3, 3, 5, 7, 9, 11, 2, 2**32 - 1]),
    length=st.sampled_from([0, 1, 10, 300, WINDOW // 2, WINDOW, WINDOW + 1, 2**31, 2**32 - 1]),
)


@dataclass
class Reference:
    """What the specification and our bounds make of frames, told as plainly as possible."""

    windows: dict[int, int] = field(default_factory=dict)
    send_windows: dict[int, int] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    reset: set[int] = field(default_factory=set)

    def expect(self, sent: Sent) -> Iterator[Event | Breach]:
        is_session = sent.kind in (PING, GO_AWAY)
        if sent.kind > GO_AWAY:
            yield Breach.TYPE
        elif is_session != (sent.stream == 0):
            yield Breach.STREAM
        elif sent.kind == DATA and sent.length > WINDOW:
            yield Breach.WINDOW
        elif sent.kind == GO_AWAY:
            yield SessionEnded(sent.length)
        elif sent.kind == PING:
            if not sent.flags & (SYN | ACK):
                yield Breach.TYPE
        else:
            yield from self._expect_on_stream(sent)

    def _expect_on_stream(self, sent: Sent) -> Iterator[Event | Breach]:
        stream = sent.stream
        if sent.flags & SYN:
            if stream % 2 == 0 or stream in self.windows:
                yield Breach.STREAM
                return
            if len(self.windows) < INBOUND_MAX:
                self.windows[stream] = self.send_windows[stream] = WINDOW
                yield StreamOpened(stream)
        if stream not in self.windows:
            return
        breach = self._count(sent)
        if breach is not None:
            yield breach
            return
        if sent.kind == DATA and sent.length:
            yield DataReceived(stream, PATTERN[: sent.length])
        if sent.flags & RST and stream not in self.reset:
            self.reset.add(stream)
            yield StreamReset(stream)
        elif sent.flags & FIN and stream not in self.finished | self.reset:
            self.finished.add(stream)
            yield StreamFinished(stream)

    def _count(self, sent: Sent) -> Breach | None:
        if sent.kind == UPDATE:
            self.send_windows[sent.stream] += sent.length
            return Breach.WINDOW_SIZE if self.send_windows[sent.stream] >= 2**32 else None
        if sent.length > self.windows[sent.stream]:
            return Breach.WINDOW
        if sent.length and sent.stream in self.finished:
            return Breach.DATA_AFTER_END
        self.windows[sent.stream] -= sent.length
        return None


def expected(sent: Sequence[Sent]) -> list[Event | Breach]:
    reference = Reference()
    outcome: list[Event | Breach] = []
    for each in sent:
        for item in reference.expect(each):
            outcome.append(item)
            if isinstance(item, Breach):
                return outcome
    return outcome


def seen(session: Session, pieces: Sequence[bytes]) -> list[Event | Breach]:
    """What a session makes of bytes."""
    outcome: list[Event | Breach] = []
    try:
        for piece in pieces:
            outcome.extend(session.receive(piece))
    except BrokenSession as error:
        outcome.append(Breach(error.breach))
    return outcome


def joined(outcome: Sequence[Event | Breach]) -> list[Event | Breach]:
    """Put data of one stream together that came in parts."""
    done: list[Event | Breach] = []
    for item in outcome:
        if isinstance(item, DataReceived) and done and isinstance(done[-1], DataReceived):
            last = done[-1]
            if last.stream == item.stream:
                done[-1] = DataReceived(item.stream, last.data + item.data)
                continue
        done.append(item)
    return done


def cut(raw: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:end] for start, end in pairwise(bounds)]


@given(st.lists(frames, max_size=40), st.lists(st.integers(0, 2**20), max_size=20))
def test_any_frames_mean_what_the_reference_says(sent: list[Sent], places: list[int]) -> None:
    session = Session(is_initiator=False, inbound_max=INBOUND_MAX)
    raw = b"".join(each.raw for each in sent)
    outcome = seen(session, cut(raw, places))
    assert joined(outcome) == joined(expected(sent))
    assert session.inbound <= INBOUND_MAX
    session.go_away(1)
    assert session.outgoing(65_519).data == frame(GO_AWAY, 0, 0, 1)


@given(st.lists(frames, max_size=20), st.data())
def test_mutated_bytes_only_break_the_session(sent: list[Sent], data: st.DataObject) -> None:
    raw = bytearray(b"".join(each.raw[:400] for each in sent))
    for place in data.draw(st.lists(st.integers(0, max(len(raw) - 1, 0)), max_size=8)):
        if raw:
            raw[place] ^= data.draw(st.integers(1, 255))
    session = Session(is_initiator=False, inbound_max=INBOUND_MAX)
    outcome = seen(session, cut(bytes(raw), data.draw(st.lists(st.integers(0, 10**5)))))
    held: dict[int, int] = {}
    for event in outcome:
        if isinstance(event, DataReceived):
            held[event.stream] = held.get(event.stream, 0) + len(event.data)
    assert all(size <= WINDOW for size in held.values())
    assert len(held) <= INBOUND_MAX
    assert len(drained(session)) <= 12 * (len(raw) // 12 + INBOUND_MAX)
