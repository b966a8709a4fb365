"""A map that remembers what was used last, and forgets the rest."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """At most ``size_max`` entries; the one that was not used for longest makes room."""

    __slots__ = ("_entries", "_size_max")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return the value of ``key`` and count this as use."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Set the value of ``key`` and count this as use."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size_max:
            self._entries.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """Forget ``key``; return what it had."""
        return self._entries.pop(key, None)

    def put_back(self, key: K, value: V | None) -> None:
        """Set the value that ``key`` had before, where None means that it had none."""
        if value is None:
            self.pop(key)
        else:
            self.put(key, value)

    def items(self) -> list[tuple[K, V]]:
        """Return all there is, which does not count as use."""
        return list(self._entries.items())

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
