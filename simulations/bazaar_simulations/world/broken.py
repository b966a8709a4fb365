"""What a world says when one of its invariants does not hold."""

from collections.abc import Sequence
from typing import Final

_LINES_SHOWN: Final = 40


class BrokenInvariant(Exception):
    """Something happened that must never happen; the same seed makes it happen again.

    Args:
        invariant: Which one, in a few words.
        what: What was found.

    """

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what
        self.seed = -1
        self.step = -1
        """At which step of the event loop."""
        self.at_s = 0.0
        self.replay = ""
        """The command that runs the same world again."""
        self.lines: Sequence[str] = ()
        """The last lines of the log."""

    def __str__(self) -> str:
        shown = "\n".join(f"  {line}" for line in self.lines[-_LINES_SHOWN:])
        return (
            f"{self.invariant}: {self.what}\n"
            f"seed {self.seed}, step {self.step}, {self.at_s:.6f} s\n"
            f"{shown}\n"
            f"to see it again: {self.replay}"
        )
