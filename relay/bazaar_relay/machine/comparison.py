"""One comparison of our logs with a peer's: which ranges to ask about, and when it is over.

Nothing of what the peer says is believed for long: a range that it says is another is looked at
part by part, until it is small enough for the peer to name its logs. What it can make us do is
bounded by the number of ranges.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import LogHead, Range, RangeSum
from bazaar_protocol.reconciliation import Sum, bounds_of, parts_of, weigh
from bazaar_protocol.records import RecordId
from bazaar_relay.machine.head_tree import HeadTree

_NEXT_TO_NOTHING: Final = 8
"""Of what a peer has: who has less of a range than one in so many asks for all of it at once."""


class Comparison:
    """Which ranges are others at a peer's place.

    Args:
        tree: What is here. It may change meanwhile.

    """

    def __init__(self, tree: HeadTree) -> None:
        self.same = True
        """Whether nothing that differs was found so far."""
        self.to_list: deque[tuple[bytes, RangeSum]] = deque()
        """The ranges whose heads are to be asked for, and what the peer says of them."""
        self._tree = tree
        self._to_compare: deque[bytes] = deque([b""])

    def ask(self) -> tuple[Range, ...]:
        """Return the ranges to compare next; none if all were."""
        count = min(len(self._to_compare), limits.RANGES_PER_FRAME_MAX)
        prefixes = [self._to_compare.popleft() for _ in range(count)]
        return tuple(self._tree.sum(prefix).as_range(prefix) for prefix in prefixes)

    def take(self, asked: Sequence[Range], parts: Sequence[Sequence[RangeSum]]) -> None:
        """Take the answer to ``ask``.

        Raises:
            MalformedRecord: It is none.

        """
        if len(parts) != len(asked):
            raise MalformedRecord(f"{len(parts)} ranges in answer to {len(asked)}")
        for one, theirs in zip(asked, parts, strict=True):
            if not theirs:
                continue
            if len(theirs) != limits.RANGE_PARTS:
                raise MalformedRecord(f"a range has {limits.RANGE_PARTS} parts, not {len(theirs)}")
            self.same = False
            for prefix, part in zip(parts_of(one.prefix), theirs, strict=True):
                self._look_at(prefix, part)

    def _look_at(self, prefix: bytes, theirs: RangeSum) -> None:
        ours = self._tree.sum(prefix)
        if not theirs.count or ours.equals(theirs):
            return
        is_deepest = len(prefix) == limits.RANGE_DIGITS_MAX
        is_small = theirs.count <= limits.RANGE_HEADS_LISTED
        if is_deepest or is_small or ours.count * _NEXT_TO_NOTHING <= theirs.count:
            self.to_list.append((prefix, theirs))
        else:
            self._to_compare.append(prefix)


class Listing:
    """The heads of one range, as a peer names them page by page."""

    def __init__(self, prefix: bytes, claimed: RangeSum) -> None:
        self.prefix = prefix
        self.after = b""
        """Where the next page begins."""
        self.is_done = False
        self._claimed = claimed
        self._found = Sum()
        self._first, self._last = bounds_of(prefix)

    @property
    def is_as_claimed(self) -> bool:
        """Whether the heads that were named add up to what the peer had said of the range."""
        return self._found.equals(self._claimed)

    def take(self, heads: Sequence[LogHead], *, more: bool) -> dict[AgentId, Head]:
        """Take a page.

        Raises:
            MalformedRecord: It is none.

        """
        page: dict[AgentId, Head] = {}
        for one in heads:
            is_inside = self._first <= one.author <= self._last
            if not is_inside or one.author <= self.after:
                raise MalformedRecord("heads come in order, and those that were asked for")
            self.after = one.author
            author, head = AgentId(one.author), Head(one.seq, RecordId(one.id))
            page[author] = head
            self._found.move(weigh(author, head), 1)
        if more and not heads:
            raise MalformedRecord("an empty page that is not the last")
        self.is_done = not more
        return page
