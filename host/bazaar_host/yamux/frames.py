"""Yamux frames on the wire: a header of twelve bytes, and after that of a data frame its body.

What the length of a header means depends on its type: bytes that follow (data), bytes by which a
window opens (window update), a value to be echoed (ping), or why the session ends (go away).
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from bazaar_host.yamux.breaches import Breach
from bazaar_protocol import limits
from bazaar_protocol.errors import BrokenSession

VERSION: Final = 0
HEADER_BYTES: Final = 12
SESSION: Final = 0
"""The stream number of frames that concern the session and not a stream."""

# Types.
DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

# Flags. Bits that are not defined are ignored.
SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8

# Why a session ends: the length of a go-away.
NORMAL: Final = 0
PROTOCOL_ERROR: Final = 1

_HEADER: Final = struct.Struct(">BBHII")


class Header(NamedTuple):
    """The header of one frame, as far as it is not the same in all."""

    kind: int
    flags: int
    stream: int
    length: int


def pack(kind: int, flags: int, stream: int, length: int) -> bytes:
    """Return the header of a frame."""
    return _HEADER.pack(VERSION, kind, flags, stream, length)


class FrameReader:
    """Cuts a byte stream, which arrives in pieces of any size, into headers and parts of bodies.

    A body is handed on as it arrives, so at most eleven bytes wait here, whatever is announced.
    """

    __slots__ = ("_body_left", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._body_left = 0

    def feed(self, data: bytes) -> Iterator[Header | bytes]:
        """Take the next bytes of the stream, and yield what they hold, in order.

        The bytes that follow a data header are parts of its body, which add up to its length.

        Raises:
            BrokenSession: These are not frames that yamux has, or a body is larger than a window.

        """
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while start < end:
            if self._body_left:
                part = data[start : start + self._body_left]
                self._body_left -= len(part)
                start += len(part)
                yield part
            elif end - start < HEADER_BYTES:
                break
            else:
                header = _parse(data, start)
                start += HEADER_BYTES
                self._body_left = header.length if header.kind == DATA else 0
                yield header
        self._rest = data[start:]


def _parse(data: bytes, start: int) -> Header:
    version, kind, flags, stream, length = _HEADER.unpack_from(data, start)
    if version != VERSION:
        raise BrokenSession(Breach.VERSION, f"yamux has the version {VERSION}, not {version}")
    if kind > GO_AWAY:
        raise BrokenSession(Breach.TYPE, f"yamux has no frame of type {kind}")
    if (stream == SESSION) != (kind in (PING, GO_AWAY)):
        raise BrokenSession(Breach.STREAM, f"a frame of type {kind} names the stream {stream}")
    if kind == DATA and length > limits.YAMUX_WINDOW_BYTES:
        raise BrokenSession(Breach.WINDOW, f"a data frame has {length} bytes, more than a window")
    return Header(kind, flags, stream, length)
