"""The newest records of a ``SqliteStore``: those that its index tables do not know yet.

There are two layers. Commits add to ``newer``. Now and then it becomes ``older``, which nobody
changes any more, and is written into the tables piece by piece while commits go on.
"""

from collections.abc import Iterable
from typing import Final

from bazaar_protocol.limits import MIB
from bazaar_relay.storage.index import Entry, Index

_RECORDS_MAX: Final = 10_000
_BYTES_MAX: Final = 8 * MIB


class Overlay:
    """Everything beyond the cursor up to which the tables are complete."""

    def __init__(self, entries: Iterable[Entry], *, merged: int, merging: int) -> None:
        self.merged = merged
        """The tables know everything up to here."""
        self.frozen = merging
        """``older`` has what lies between ``merged`` and this cursor."""
        self.cursor = merging
        """``newer`` has what lies between ``frozen`` and this cursor, which is the newest."""
        self.older = Index()
        self.newer = Index()
        for entry in entries:
            if entry.cursor <= merging:
                self.older.add(entry)
            else:
                self.add(entry)

    @property
    def is_full(self) -> bool:
        """Whether ``newer`` is worth a merge."""
        return len(self.newer.entries) >= _RECORDS_MAX or self.newer.bytes >= _BYTES_MAX

    @property
    def is_merging(self) -> bool:
        """Whether something is on its way into the tables."""
        return self.frozen > self.merged

    @property
    def layers(self) -> tuple[Index, Index]:
        """Both layers, the newest first."""
        return self.newer, self.older

    def add(self, entry: Entry) -> None:
        """Take in what was just committed."""
        self.newer.add(entry)
        self.cursor = entry.cursor

    def freeze(self) -> None:
        """Begin a merge: from now on commits go into a layer of their own."""
        assert not self.is_merging, "one merge at a time"
        self.older, self.newer = self.newer, Index()
        self.frozen = self.cursor

    def drop(self) -> None:
        """End a merge: the tables have all of ``older``."""
        self.older = Index()
        self.merged = self.frozen

    def layer_after(self, cursor: int) -> tuple[Index, int]:
        """Return the layer in which what follows ``cursor`` begins, and up to where it goes."""
        assert cursor >= self.merged, "the tables have it"
        if cursor < self.frozen:
            return self.older, self.frozen
        return self.newer, self.cursor

    def has_expired(self, now_ms: int) -> bool:
        """Tell whether something here has expired."""
        return any(layer.expired(now_ms) for layer in self.layers)
