"""What happened in a world, line by line: the same for the same seed, to the byte."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

_ID_CHARS: Final = 8


class Journal:
    """The log of one run.

    Args:
        true_s: Returns virtual time.

    """

    def __init__(self, true_s: Callable[[], float]) -> None:
        self.lines: list[str] = []
        self._true_s = true_s

    def note(self, who: str, what: str) -> None:
        """Write down that ``what`` happened to ``who``."""
        self.lines.append(f"{self._true_s():.6f} {who} {what}")

    @property
    def text(self) -> str:
        """The whole log."""
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def digest(self) -> str:
        """A hash of the whole log, to compare two runs by."""
        return sha256(self.text.encode()).hexdigest()


def short(id_: bytes) -> str:
    """Return as much of an id as is worth reading."""
    return id_.hex()[:_ID_CHARS]
