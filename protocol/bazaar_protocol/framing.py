"""Frames on a byte stream: each is a u32 big-endian length and then that many bytes.

Pure; the links of ``host`` use it on both ends, and so would a program in another language.
"""

import struct
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.errors import TooLarge

LENGTH_BYTES: Final = 4
_LENGTH: Final = struct.Struct(">I")


def pack(body: bytes) -> bytes:
    """Return ``body`` as one frame: its length, then itself.

    Raises:
        TooLarge: The body is longer than ``FRAME_BYTES_MAX``.

    """
    _check(len(body))
    return _LENGTH.pack(len(body)) + body


class Splitter:
    """Cuts a byte stream, which arrives in pieces of any size, back into the bodies of frames.

    It holds at most one unfinished frame. Once it has raised it must not be fed again.
    """

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = LENGTH_BYTES

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the bodies that they completed, in order.

        Raises:
            TooLarge: A frame announces more than ``FRAME_BYTES_MAX``. Bodies that were completed
                by the same piece are lost with the stream.

        """
        self._buffer += data
        # A stranger may send single bytes: without this each would cost a look at the whole.
        if len(self._buffer) < self._needed:
            return []
        stream = bytes(self._buffer)
        bodies: list[bytes] = []
        start = 0
        while True:
            self._needed = LENGTH_BYTES
            if len(stream) - start < LENGTH_BYTES:
                break
            (length,) = _LENGTH.unpack_from(stream, start)
            _check(length)
            self._needed += length
            if len(stream) - start < self._needed:
                break
            bodies.append(stream[start + LENGTH_BYTES : start + self._needed])
            start += self._needed
        del self._buffer[:start]
        return bodies


def _check(length: int) -> None:
    if length > limits.FRAME_BYTES_MAX:
        raise TooLarge(f"a frame has at most {limits.FRAME_BYTES_MAX} bytes, not {length}")
