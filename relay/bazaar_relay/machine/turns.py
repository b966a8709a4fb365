"""Whose turn it is to decide.

A relay of one process decides whenever it likes. Of several, which share a store, each decides only
in its turn, and then knows all that the others have decided (docs/adr/0090).
"""


class Turns:
    """Whether this process may decide."""

    def __init__(self) -> None:
        self.is_shared = False
        """Whether there may be other processes."""
        self.is_ours = True
        self.is_wanted = False
        """Whether a turn was asked for and has not begun."""

    def share(self) -> None:
        """Decide in turns from now on."""
        self.is_shared = True
        self.is_ours = False

    def want(self) -> bool:
        """Ask for a turn; False if one was asked for before."""
        was_wanted, self.is_wanted = self.is_wanted, True
        return not was_wanted

    def begin(self) -> None:
        """Decide now."""
        self.is_wanted, self.is_ours = False, True

    def end(self) -> None:
        """Decide no more, until the next one."""
        self.is_wanted, self.is_ours = False, not self.is_shared
