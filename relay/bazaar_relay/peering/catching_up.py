"""What a peer has and we lack: logs that differ are found by comparison, and pulled by segments."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, PeerLied
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import (
    Compare,
    Compared,
    GetHeads,
    GetLogs,
    GetLoose,
    Listed,
    LogSpan,
)
from bazaar_protocol.records import Record, parse, record_id
from bazaar_relay.machine.bounded import Bounded
from bazaar_relay.machine.comparison import Comparison, Listing
from bazaar_relay.machine.head_tree import HeadTree
from bazaar_relay.peering import spans
from bazaar_relay.peering.peer_link import PeerLink, Pending
from bazaar_relay.storage.store import Store

_GONE = "storage"


@dataclass(frozen=True, slots=True)
class Hand:
    """Records for the relay to judge."""

    raws: tuple[bytes, ...] = ()
    records: Sequence[Record] = ()
    is_old: bool = True


Asked: TypeAlias = tuple[tuple[LogSpan, ...], Pending]
"""A request for parts of logs that is under way."""
Handing = Callable[[Hand], Awaitable[tuple[str, ...]]]
"""Hands records to the relay and returns their statuses once those that are kept are durable."""


class Settled:
    """The logs that a peer has otherwise than we, and that were looked into."""

    def __init__(self) -> None:
        self._heads: Bounded[AgentId, Head] = Bounded(limits.PEER_HEADS_SETTLED_MAX)

    def is_settled(self, author: AgentId, head: Head) -> bool:
        """Tell whether the peer's log ends where it did when it was looked into."""
        return self._heads.get(author) == head

    def settle(self, author: AgentId, head: Head) -> None:
        """Leave a log alone until the peer has more of it."""
        self._heads.put(author, head)


class CatchingUp:
    """Pulls from one peer over one link.

    Args:
        link: The link.
        store: What is here.
        tree: The sums of it.
        hand: Takes what is pulled.
        me: This relay, which alone writes in its own name.
        settled: What is left alone.

    """

    def __init__(
        self, link: PeerLink, store: Store, tree: HeadTree, hand: Handing,
        *, me: AgentId, settled: Settled,
    ) -> None:  # fmt: skip
        self.is_contradicted = False
        """Whether the heads that the peer named did not add up to what it had said of them."""
        self.knows_more_of_us = False
        """Whether the peer has entries of our own log that our store has not."""
        self._link = link
        self._store = store
        self._tree = tree
        self._hand = hand
        self._me = me
        self._settled = settled

    async def compare(self) -> bool:
        """Compare all logs, and pull what is lacking; tell whether they were the same.

        Raises:
            PeerLied: The peer shows what cannot be.
            RemoteError: It does not answer.
            StorageError: Our store cannot be read.

        """
        comparison = Comparison(self._tree)
        self.is_contradicted = False
        while ranges := comparison.ask():
            answer = await self._link.request(Compare(0, ranges))
            assert isinstance(answer, Compared)
            comparison.take(ranges, answer.parts)
        listed = 0
        while comparison.to_list:
            listing = Listing(*comparison.to_list.popleft())
            while not listing.is_done:
                answer = await self._link.request(GetHeads(0, listing.prefix, listing.after))
                assert isinstance(answer, Listed)
                page = listing.take(answer.heads, more=answer.more)
                listed += len(page)
                if listed > limits.HEADS_PER_COMPARISON_MAX:
                    raise PeerLied("endless", f"more than {limits.HEADS_PER_COMPARISON_MAX} logs")
                await self._pull_page(page)
            self.is_contradicted |= not listing.is_as_claimed
        return comparison.same

    async def pull_loose(self, after: int, upto: int) -> None:
        """Pull what is in no log, between two of the peer's cursors.

        Raises:
            PeerLied: The peer shows what cannot be.
            RemoteError: It does not answer.

        """
        while after < upto:
            answer = await self._link.request(GetLoose(0, after))
            assert isinstance(answer, frames.Segment)
            if answer.records:
                await self._hand(Hand(raws=answer.records))
            if not answer.more:
                return
            if answer.cursor <= after:
                raise PeerLied("endless", "its loose records have no end")
            after = answer.cursor

    async def _pull_page(self, page: Mapping[AgentId, Head]) -> None:
        """Pull what is lacking of some logs, of which the peer has named the ends."""
        ours = await self._store.heads(list(page))
        wanted: list[LogSpan] = []
        differing: dict[AgentId, Head] = {}
        for author, theirs in page.items():
            own = ours.get(author, Head.empty())
            if author == self._me:
                self.knows_more_of_us |= theirs.seq > own.seq
            elif own != theirs and not self._is_left_alone(author, theirs):
                differing[author] = own
                if theirs.seq > own.seq:
                    wanted.append(LogSpan(author, own.seq + 1, theirs.seq))
        parted = await self._pull(wanted, page, differing)
        for author, own in differing.items():
            theirs = page[author]
            if author in parted or (theirs.seq <= own.seq and not await self._has(author, theirs)):
                await self._show_fork(author, min(own.seq, theirs.seq))
            self._settled.settle(author, theirs)

    def _is_left_alone(self, author: AgentId, theirs: Head) -> bool:
        return self._tree.leaves_out(author) or self._settled.is_settled(author, theirs)

    async def _has(self, author: AgentId, head: Head) -> bool:
        raws = await self._store.log(author, first=head.seq, last=head.seq, limit=1)
        return any(record_id(raw) == head.id for raw in raws)

    async def _pull(
        self,
        wanted: Sequence[LogSpan],
        page: Mapping[AgentId, Head],
        known: Mapping[AgentId, Head],
    ) -> set[AgentId]:
        """Pull parts of logs; return whose logs continue another entry than ours does."""
        heads = dict(known)
        parted: set[AgentId] = set()
        asked: deque[Asked] = deque()
        handed: deque[asyncio.Task[None]] = deque()
        groups = deque(spans.groups(wanted))
        try:
            while groups or asked:
                while groups and len(asked) < limits.PULLS_UNDER_WAY_MAX:
                    group = tuple(one for one in groups.popleft() if one.author not in parted)
                    asked.append(await self._ask(group))
                taken = await self._take(asked, heads)
                parted |= {record.author for record in taken.parted}
                _check_ends(taken.entries, page)
                if taken.left:
                    asked.appendleft(await self._ask(tuple(taken.left)))
                if taken.entries:
                    handed.append(asyncio.create_task(self._give(taken.entries)))
                while len(handed) > (limits.PULLS_UNDER_WAY_MAX if asked or groups else 0):
                    await handed.popleft()
        finally:
            for task in handed:
                task.cancel()
        return parted

    async def _ask(self, group: tuple[LogSpan, ...]) -> Asked:
        return group, await self._link.send(GetLogs(0, group))

    async def _take(self, asked: deque[Asked], heads: dict[AgentId, Head]) -> spans.Taken:
        """Take the next answer, and those behind it that are there as well; check them together."""
        answers: list[tuple[tuple[LogSpan, ...], frames.Segment]] = []
        is_whole, entries = True, 0
        while asked and is_whole and entries < limits.PULLED_RECORDS_MAX:
            group, pending = asked[0]
            if answers and not pending.answer.done():
                break
            asked.popleft()
            answer = await self._link.answer(pending)
            assert isinstance(answer, frames.Segment)
            answers.append((group, answer))
            entries += len(answer.records)
            # What a cut one lacks is asked for again, and comes before all that is behind it.
            is_whole = not answer.more
        taken = await asyncio.to_thread(partial(_check_all, answers, heads))
        last = answers[-1][1]
        if taken.left and not (last.more and last.records):
            raise PeerLied("withheld", "it has not got the entries that it said it had")
        return taken

    async def _give(self, entries: Sequence[Record]) -> None:
        statuses = await self._hand(Hand(records=entries))
        if any(status.startswith(f"{_GONE}:") for status in statuses):
            raise LinkClosed("our own store failed, so it has to be pulled again")

    async def _show_fork(self, author: AgentId, differs: int) -> None:
        """Find the first entry that differs, and let the relay see it: that proves the fork.

        Where two chains agree, they agree on all before.
        """
        same = 0
        theirs = await self._entry(author, differs)
        while differs - same > 1:
            middle = (same + differs) // 2
            entry = await self._entry(author, middle)
            if await self._has(author, Head.of(parse(entry)[0])):
                same = middle
            else:
                differs, theirs = middle, entry
        await self._hand(Hand(raws=(theirs,)))

    async def _entry(self, author: AgentId, seq: int) -> bytes:
        span = LogSpan(author, seq, seq)
        answer = await self._link.request(GetLogs(0, (span,)))
        assert isinstance(answer, frames.Segment)
        taken = await asyncio.to_thread(partial(spans.check, (span,), answer.records, {}))
        if taken.left:
            raise PeerLied("withheld", "it has not got the entries that it said it had")
        return taken.entries[0].raw


def _check_all(
    answers: Sequence[tuple[tuple[LogSpan, ...], frames.Segment]], heads: dict[AgentId, Head]
) -> spans.Taken:
    """Verify answers in their order; ``heads`` follow what is taken."""
    together = spans.Taken()
    for group, answer in answers:
        taken = spans.check(group, answer.records, heads)
        together.entries.extend(taken.entries)
        together.parted.extend(taken.parted)
        together.left.extend(taken.left)
        heads |= {record.author: Head.of(record) for record in taken.entries}
    return together


def _check_ends(entries: Sequence[Record], page: Mapping[AgentId, Head]) -> None:
    for record in entries:
        theirs = page[record.author]
        if record.seq == theirs.seq and record.id != theirs.id:
            raise PeerLied("contradiction", f"two ends of {record.author.hex()[:12]}")
