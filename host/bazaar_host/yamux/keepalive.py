"""Whether a peer is still there: after a silence it is asked, and then has to say something."""

from enum import Enum, auto

from bazaar_protocol import limits


class Verdict(Enum):
    """What to do about a peer."""

    WAIT = auto()
    ASK = auto()
    """Send a ping now."""
    GIVE_UP = auto()


class Keepalive:
    """Watches for silence, by the clock of the caller.

    Any byte counts as a sign of life, so a peer that is busy is never asked. One that has stopped
    is given up ``YAMUX_PING_AFTER_S`` and ``YAMUX_PONG_TIMEOUT_S`` after its last byte.
    """

    __slots__ = ("_asked_at", "_heard_at")

    def __init__(self, now: float) -> None:
        self._heard_at = now
        self._asked_at: float | None = None

    def heard(self, now: float) -> None:
        """Note that bytes came."""
        self._heard_at = now
        self._asked_at = None

    @property
    def due_at(self) -> float:
        """When ``judge`` should be asked next; bytes that come in between move it."""
        if self._asked_at is None:
            return self._heard_at + limits.YAMUX_PING_AFTER_S
        return self._asked_at + limits.YAMUX_PONG_TIMEOUT_S

    def judge(self, now: float) -> Verdict:
        """Say what to do now."""
        if now < self.due_at:
            return Verdict.WAIT
        if self._asked_at is not None:
            return Verdict.GIVE_UP
        self._asked_at = now
        return Verdict.ASK
