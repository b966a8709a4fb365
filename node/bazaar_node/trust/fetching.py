"""Fetching one author's log from one relay: what is new in it, checked, a page at a time.

Each page is kept before the next one is asked for, so a fetch that is cut short goes on from there.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from bazaar_node.trust import records_kept
from bazaar_node.trust.authors import read_known
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.histories import Circle, Known
from bazaar_protocol import limits
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import check_segment
from bazaar_protocol.records import Record, RecordId, unseal


class Source(Protocol):
    """A relay that can be asked for logs. Both methods raise a ``RemoteError``."""

    async def head(self, author: bytes) -> bytes | None:
        """Return the newest entry of a log, or None if the relay knows none."""
        ...

    async def log(self, author: bytes, first: int, last: int) -> list[bytes]:
        """Return the entries ``first`` to ``last`` of a log, as far as the relay has them."""
        ...


class Budget(Protocol):
    """How much may be asked."""

    async def take(self) -> None:
        """Wait until one more request may be made."""
        ...


class Fetch:
    """Fetches the log of one author from one relay.

    Args:
        store: Where it is kept.
        source: The relay.
        author: Whose log.
        circle: How near the author is to us.
        budget: Waited for before each request.

    """

    def __init__(
        self, store: EvidenceStore, source: Source, author: AgentId, circle: Circle, *,
        budget: Budget,
    ) -> None:  # fmt: skip
        self.seq = 0
        """The newest entry that the relay has."""
        self.is_done = True
        """Whether there is nothing left to fetch."""
        self._store = store
        self._source = source
        self._author = author
        self._circle = circle
        self._budget = budget

    async def run(self) -> None:
        """Fetch what is new, up to a bound.

        Raises:
            RemoteError: The relay does not answer, or with what is no such log.
            StorageError: It could not be kept.

        """
        await self._budget.take()
        raw = await self._source.head(self._author)
        if raw is None:
            return
        head = unseal(raw)
        if head.author != self._author or not head.seq:
            raise MalformedRecord("asked for the head of a log, the relay sent none of it")
        self.seq = head.seq
        known = await self._known()
        ours = await self._ours(known, head.seq)
        if ours is not None and head.id != ours:
            await self._find_fork(head, known)
        elif known.whole.seq < head.seq:
            await self._read_on(head, known)

    async def look_at(self, places: Sequence[int]) -> None:
        """Fetch single entries, which somebody's link names.

        Raises:
            RemoteError: The relay does not answer, or with what is no such log.
            StorageError: They could not be kept.

        """
        for place in places:
            await self._budget.take()
            page = await self._source.log(self._author, place, place)
            records = [unseal(raw) for raw in page[:1]]
            if any((one.author, one.seq) != (self._author, place) for one in records):
                raise MalformedRecord(f"asked for entry {place} of a log, the relay sent another")
            await self._store.keep(records, self._circle)

    async def _read_on(self, head: Record, known: Known) -> None:
        first = known.whole.seq + 1
        oldest = max(1, head.seq - limits.AUTHOR_ENTRIES_FETCHED_MAX + 1)
        begins_run = first < oldest
        first = max(first, oldest)
        fetched = 0
        while first <= head.seq:
            if fetched >= limits.ENTRIES_PER_SYNC_MAX:
                self.is_done = False
                return
            entries = await self._page(first, min(head.seq, first + _PAGE - 1))
            if not entries:
                return
            known = await self._known()
            is_next = entries[0].seq == known.whole.seq + 1
            if is_next and known.first and entries[0].prev != known.whole.id:
                await self._store.keep(entries, self._circle)
                await self._find_fork(head, known)
                return
            await self._store.keep(entries, self._circle, begins_run=begins_run)
            begins_run = False
            fetched += len(entries)
            first = entries[-1].seq + 1

    async def _page(self, first: int, last: int) -> list[Record]:
        await self._budget.take()
        raws = await self._source.log(self._author, first, last)
        # A page takes milliseconds to check, which nobody else is to wait for.
        entries = await asyncio.to_thread(check_segment, raws, None, author=self._author)
        if entries and (entries[0].seq < first or entries[-1].seq > last):
            raise MalformedRecord("the relay sent other entries than those asked for")
        return entries

    async def _find_fork(self, head: Record, known: Known) -> None:
        """Find the first entry in which the relay's log differs from ours, which proves the fork.

        Where two chains agree, they agree on all before.
        """
        same, differs = known.first - 1, min(head.seq, known.whole.seq)
        theirs: Record | None = head if differs == head.seq else None
        while differs - same > 1 or theirs is None:
            middle = (same + differs) // 2 if differs - same > 1 else differs
            entry = await self._page(middle, middle)
            if not entry:
                return
            if entry[0].id == await self._ours(known, middle):
                if middle == differs:
                    return  # the relay contradicts itself
                same = middle
            else:
                differs, theirs = middle, entry[0]
        await self._store.keep([theirs], self._circle)

    async def _ours(self, known: Known, seq: int) -> RecordId | None:
        """Return what stands at a position of the run that we hold; None outside of it.

        Events may have told entries of another branch, too, so being held is not enough.
        """
        run = range(known.first, known.whole.seq + 1)
        find = partial(
            records_kept.id_on_run, author=self._author, run=run, end=known.whole.id, seq=seq
        )
        return await self._store.read(find)

    async def _known(self) -> Known:
        found = await self._store.read(partial(read_known, agent=self._author))
        return Known() if found is None else found


_PAGE = limits.RECORDS_PER_FRAME_MAX
