"""Yamux frames written by hand, and what a session makes of them."""

import struct

from bazaar_host.yamux.events import Event, StreamOpened
from bazaar_host.yamux.session import Session
from bazaar_protocol import limits

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


def opened(listener: Session, number: int = 1) -> None:
    """Have the peer open a stream, and answer it."""
    assert received(listener, frame(UPDATE, SYN, number)) == [StreamOpened(number)]
    drained(listener)
