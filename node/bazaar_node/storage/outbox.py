"""What waits to be handed to the relays: on the disk, with its newest part in memory as well."""

from collections import deque
from typing import Final

from bazaar_node.storage.store import NodeStore, Parcel

RECENT_MAX: Final = 4_096


class Outbox:
    """Reads parcels in order; from memory when it can, so that a fresh one costs no query."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._recent: deque[Parcel] = deque(maxlen=RECENT_MAX)
        self._dropped = 0

    def add(self, parcels: list[Parcel]) -> None:
        """Remember parcels that have just become durable."""
        self._recent.extend(parcels)

    async def after(self, number: int, limit: int) -> list[Parcel]:
        """Return up to ``limit`` parcels beyond ``number``, in order."""
        if self._recent and number >= self._recent[-1].number:
            return []
        if self._recent and self._recent[0].number <= number + 1:
            skip = number + 1 - self._recent[0].number
            stop = min(skip + limit, len(self._recent))
            return [self._recent[index] for index in range(skip, stop)]
        return await self._store.parcels(number, limit)

    async def drop(self, up_to: int) -> None:
        """Forget the parcels up to a number, which every relay has."""
        if up_to > self._dropped:
            await self._store.empty_outbox(up_to)
            self._dropped = up_to
