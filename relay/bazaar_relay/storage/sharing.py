"""A store that several processes of one relay share, and what each learns of the others by it.

Their order is that of the commits. Whoever wants to decide takes a turn: it is told what the others
have committed since, decides on top of that, and commits, while nobody else can. So each process
is at every moment of its turn what a single one would be (docs/adr/0090).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bazaar_protocol.identity import AgentId
from bazaar_relay.storage.index import Entry
from bazaar_relay.storage.store import NewLetter, Store


@dataclass(frozen=True, slots=True)
class News:
    """What others have committed, in order."""

    entries: Sequence[Entry] = ()
    """Records and routes."""
    letters: Sequence[tuple[int, NewLetter]] = ()
    """With their numbers; without those that were collected meanwhile."""
    covered: int = 0
    """The cursor up to which all that needs a receipt is under one."""
    is_whole: bool = True
    """Whether nothing else was committed until then."""


@runtime_checkable
class SharedStore(Store, Protocol):
    """A ``Store`` to which other processes of the same relay commit as well.

    It remembers up to where its own process was told. What a ``commit`` without an answer has
    kept after all comes back as news.
    """

    def snapshot(self) -> AbstractAsyncContextManager[Store]:
        """Open a view of one moment to read from; what is committed after it is news."""
        ...

    async def news(self) -> News:
        """Return what was committed beyond what this process was told, or the first part of it."""
        ...

    async def begin_turn(self) -> News:
        """Return all that was committed; nobody else commits until ``commit`` or ``end_turn``.

        Raises:
            StorageError: The database cannot be reached, or the others took too long.

        """
        ...

    async def end_turn(self) -> None:
        """Let others have their turn; nothing was decided."""
        ...

    async def tell_listening(self, agents: Sequence[AgentId]) -> Sequence[AgentId]:
        """Say who listens at this process, and return who does at others."""
        ...

    def on_change(self, call: Callable[[], None]) -> None:
        """Have ``call`` called when others may have committed something."""
        ...
