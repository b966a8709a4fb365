"""The sums of all logs here, range by range, as they change: what peers compare.

An entry moves the head of its log by one, and names the head before it, so no log has to be looked
up. Who only writes is not to pay for those who compare: entries are noted, and added up when
somebody asks, once for each author. How many ranges there are is bounded, whatever the number of
authors.
"""

from collections.abc import Sequence
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import Range, RangeSum
from bazaar_protocol.reconciliation import Sum, check_prefix, digits_of, parts_of, weigh
from bazaar_protocol.records import Record

_NOTED_MAX: Final = 4096


class HeadTree:
    """For each range of authors the sum of their heads."""

    def __init__(self) -> None:
        self._sums: dict[bytes, Sum] = {}
        self._left_out: dict[AgentId, None] = {}
        self._noted: dict[AgentId, tuple[Record, Record]] = {}
        """The first and the newest entry of each log that are not in the sums yet."""
        self.changes = 0
        """How many entries were counted."""

    def __len__(self) -> int:
        return self.sum(b"").count

    def put(self, author: AgentId, head: Head) -> None:
        """Count a log that was not counted yet."""
        if head.seq and author not in self._left_out:
            self._move(author, Head.empty(), head)

    def advance(self, entry: Record) -> None:
        """Count an entry that is kept, which is the next one of its log."""
        author = entry.author
        self.changes += 1
        noted = self._noted.get(author)
        if noted is not None:
            self._noted[author] = (noted[0], entry)
        elif author not in self._left_out:
            self._noted[author] = (entry, entry)
            if len(self._noted) > _NOTED_MAX:
                self._add_up()

    def leave_out(self, author: AgentId, head: Head | None) -> None:
        """Count a log no more, whose newest entry that was counted is ``head``.

        Of a log that is forked each relay has a branch of its own, and may keep it for ever.
        """
        self._add_up()
        if author in self._left_out:
            return
        self.changes += 1
        if head is not None and head.seq:
            self._move(author, head, Head.empty())
        self._left_out[author] = None

    def leaves_out(self, author: AgentId) -> bool:
        """Tell whether an author's log is not counted."""
        return author in self._left_out

    def sum(self, prefix: bytes) -> Sum:
        """Return the sum of a range."""
        if self._noted:
            self._add_up()
        return self._sums.get(prefix) or Sum()

    def parts(self, prefix: bytes) -> tuple[RangeSum, ...]:
        """Return the sums of the parts of a range; one that has no parts is its own."""
        if len(prefix) >= limits.RANGE_DIGITS_MAX:
            return (self.sum(prefix).as_part(),)
        return tuple(self.sum(part).as_part() for part in parts_of(prefix))

    def compare(self, ranges: Sequence[Range]) -> tuple[tuple[RangeSum, ...], ...]:
        """Return for each range of somebody else's its parts here; none where it is the same.

        Raises:
            MalformedRecord: One is no range.

        """
        for one in ranges:
            check_prefix(one.prefix)
        return tuple(
            () if self.sum(one.prefix).equals(one) else self.parts(one.prefix) for one in ranges
        )

    def _add_up(self) -> None:
        noted, self._noted = self._noted, {}
        for author, (first, newest) in noted.items():
            self._move(author, Head(first.seq - 1, first.prev), Head.of(newest))

    def _move(self, author: AgentId, before: Head, after: Head) -> None:
        change = count = 0
        if before.seq:
            change, count = -weigh(author, before), -1
        if after.seq:
            change, count = change + weigh(author, after), count + 1
        digits = digits_of(author)
        for length in range(len(digits) + 1):
            prefix = digits[:length]
            found = self._sums.get(prefix)
            if found is None:
                found = self._sums[prefix] = Sum()
            found.move(change, count)
            if not found.count:
                del self._sums[prefix]
