"""What a session knows of one stream: two windows, what is to be sent, and who has ended it."""

from collections import deque

from bazaar_host.yamux.breaches import Breach
from bazaar_host.yamux.frames import (
    ACK,
    DATA,
    FIN,
    HEADER_BYTES,
    SYN,
    WINDOW_UPDATE,
    pack,
)
from bazaar_protocol import limits
from bazaar_protocol.errors import BrokenSession

SEND_WINDOW_MAX = 2**32 - 1


class Stream:
    """One stream; only ``Session`` touches it.

    What it has to say besides data is kept as a state and not as a queue of frames, so it does not
    grow, however long the peer does not read.
    """

    __slots__ = (
        "_credit_bytes", "_greeting", "_pieces", "_receive_window", "_send_window",
        "_taken_bytes", "is_finished_by_peer", "is_finished_by_us", "is_finishing", "is_inbound",
        "is_reset_by_peer", "number", "unsent_bytes",
    )  # fmt: skip

    def __init__(self, number: int, *, is_inbound: bool) -> None:
        self.number = number
        self.is_inbound = is_inbound
        self.unsent_bytes = 0
        self.is_finishing = False
        """The application sends no more; what is unsent still goes out before that is said."""
        self.is_finished_by_us = False
        self.is_finished_by_peer = False
        self.is_reset_by_peer = False
        self._greeting = ACK if is_inbound else SYN
        """The flag by which we open or accept it; none once it has been sent."""
        self._pieces: deque[bytes | memoryview] = deque()
        self._send_window = limits.YAMUX_WINDOW_BYTES
        self._receive_window = limits.YAMUX_WINDOW_BYTES
        self._taken_bytes = 0
        self._credit_bytes = 0

    @property
    def is_announced(self) -> bool:
        """Whether the peer has heard of it."""
        return self.is_inbound or not self._greeting

    @property
    def is_over(self) -> bool:
        """Whether both sides have ended it."""
        return self.is_finished_by_us and (self.is_finished_by_peer or self.is_reset_by_peer)

    # What arrives.

    def announced(self, length: int) -> None:
        """Note that a frame with ``length`` bytes of data begins.

        Raises:
            BrokenSession: The peer may not send that much, or nothing more at all.

        """
        if length > self._receive_window:
            raise BrokenSession(
                Breach.WINDOW,
                f"stream {self.number} takes {self._receive_window} bytes, not {length}",
            )
        if length and self.is_finished_by_peer:
            raise BrokenSession(Breach.DATA_AFTER_END, f"stream {self.number} had been ended")
        self._receive_window -= length

    def widened(self, length: int) -> None:
        """Note that the peer takes ``length`` more bytes.

        Raises:
            BrokenSession: No window can be that wide.

        """
        self._send_window += length
        if self._send_window > SEND_WINDOW_MAX:
            raise BrokenSession(Breach.WINDOW_SIZE, f"stream {self.number} was opened too wide")

    def given_up(self) -> None:
        """Note that the peer reset it."""
        self.is_reset_by_peer = True
        self.is_finished_by_us = self.is_finishing
        self._greeting = self._credit_bytes = self.unsent_bytes = 0
        self._pieces.clear()

    # What the application does.

    def send(self, data: bytes) -> None:
        """Queue bytes."""
        if data and not self.is_reset_by_peer:
            self._pieces.append(data)
            self.unsent_bytes += len(data)

    def take(self, size: int) -> None:
        """Note that the application took what had arrived; the window opens by halves."""
        self._taken_bytes += size
        if self._taken_bytes < limits.YAMUX_WINDOW_BYTES // 2:
            return
        if not (self.is_finished_by_peer or self.is_reset_by_peer):
            self._credit_bytes += self._taken_bytes
            self._receive_window += self._taken_bytes
        self._taken_bytes = 0

    # What goes out.

    @property
    def has_frames(self) -> bool:
        """Whether there is something that could be sent now."""
        return bool(self._greeting or self._credit_bytes or self._sendable or self._is_fin_due)

    def frames(self, room: int) -> tuple[list[bytes | memoryview], int]:
        """Return what to send within ``room`` bytes, and how many bytes of data it carries.

        ``room`` has to be enough for three headers and a byte.
        """
        parts: list[bytes | memoryview] = []
        if self._greeting:
            parts.append(pack(WINDOW_UPDATE, self._greeting, self.number, 0))
            self._greeting = 0
        if self._credit_bytes:
            parts.append(pack(WINDOW_UPDATE, 0, self.number, self._credit_bytes))
            self._credit_bytes = 0
        room -= (len(parts) + 1) * HEADER_BYTES
        size = min(self._sendable, room)
        if size:
            parts.append(pack(DATA, 0, self.number, size))
            parts += self._pull(size)
            room -= size + HEADER_BYTES
        if self._is_fin_due and room >= 0:
            parts.append(pack(WINDOW_UPDATE, FIN, self.number, 0))
            self.is_finished_by_us = True
        return parts, size

    @property
    def _sendable(self) -> int:
        return min(self.unsent_bytes, self._send_window)

    @property
    def _is_fin_due(self) -> bool:
        return self.is_finishing and not self.unsent_bytes and not self.is_finished_by_us

    def _pull(self, size: int) -> list[bytes | memoryview]:
        """Take ``size`` bytes from the queue, in pieces and without a copy."""
        self.unsent_bytes -= size
        self._send_window -= size
        pulled: list[bytes | memoryview] = []
        while size:
            piece = self._pieces.popleft()
            if len(piece) > size:
                view = memoryview(piece)
                self._pieces.appendleft(view[size:])
                piece = view[:size]
            pulled.append(piece)
            size -= len(piece)
        return pulled
