"""Two relays find out which logs differ, whatever each has, and whatever the other one says."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st
from tests.market_records import Trader

from bazaar_protocol import limits
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.frames import encode_frame
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import Compare, Compared, LogHead, RangeSum
from bazaar_protocol.reconciliation import bounds_of, digits_of, parts_of, sum_of
from bazaar_protocol.records import RecordId
from bazaar_relay.machine.comparison import Comparison, Listing
from bazaar_relay.machine.head_tree import HeadTree

Logs = dict[AgentId, Head]

# Few first bytes, so that ranges are crowded down to the deepest.
_authors = st.builds(
    lambda first, rest: AgentId(bytes([first[0], first[1]]) + rest.to_bytes(30)),
    st.tuples(st.sampled_from([0, 1, 0x1F, 0xFF]), st.sampled_from([0, 7, 0xF0])),
    st.integers(0, 60),
)
_heads = st.builds(
    lambda seq, which: Head(seq, RecordId(bytes([which]) * 32)),
    st.integers(1, 3),
    st.integers(0, 2),
)
_logs = st.dictionaries(_authors, _heads, max_size=120)


def tree_of(logs: Mapping[AgentId, Head]) -> HeadTree:
    tree = HeadTree()
    for author, head in logs.items():
        tree.put(author, head)
    return tree


@dataclass
class Asked:
    """What one relay learns of another, and what that took."""

    found: Logs = field(default_factory=dict)
    requests: int = 0
    bytes: int = 0
    is_same: bool = False


def ask(mine: HeadTree, theirs: HeadTree, their_logs: Logs) -> Asked:
    """Compare as ``CatchingUp`` does, with an honest relay."""
    asked = Asked()
    comparison = Comparison(mine)
    while ranges := comparison.ask():
        parts = theirs.compare(ranges)
        asked.requests += 1
        asked.bytes += len(encode_frame(Compare(1, ranges))) + len(encode_frame(Compared(1, parts)))
        comparison.take(ranges, parts)
    asked.is_same = comparison.same
    order = sorted(their_logs)
    while comparison.to_list:
        listing = Listing(*comparison.to_list.popleft())
        first, last = bounds_of(listing.prefix)
        while not listing.is_done:
            start = bisect_left(order, max(first, listing.after + b"\0" if listing.after else b""))
            names = [author for author in order[start:] if author <= last]
            heads = [LogHead(one, their_logs[one].seq, their_logs[one].id) for one in names[:7]]
            asked.found |= listing.take(heads, more=len(names) > 7)
            asked.requests += 1
        assert listing.is_as_claimed
    return asked


@given(_logs, _logs)
def test_whatever_a_peer_has_otherwise_is_found(mine: Logs, theirs: Logs) -> None:
    asked = ask(tree_of(mine), tree_of(theirs), theirs)
    lacking = {author: head for author, head in theirs.items() if mine.get(author) != head}
    assert asked.found.items() >= lacking.items()
    assert asked.is_same == (mine == theirs)


@given(_logs, st.data())
def test_sums_that_followed_every_change_are_those_of_the_whole(
    logs: Logs, data: st.DataObject
) -> None:
    tree = tree_of(logs)
    gone = data.draw(st.lists(st.sampled_from(sorted(logs)), unique=True)) if logs else []
    for author in gone:
        tree.leave_out(author, logs[author])
        tree.leave_out(author, logs[author])  # which changes nothing more
        tree.put(author, Head(9, RecordId(bytes(32))))  # nor does this
    left = {author: head for author, head in logs.items() if author not in gone}
    assert tree.sum(b"") == sum_of(left.items())
    for author in left:
        prefix = digits_of(author)
        for length in range(len(prefix) + 1):
            first, last = bounds_of(prefix[:length])
            inside = [one for one in left.items() if first <= one[0] <= last]
            assert tree.sum(prefix[:length]) == sum_of(inside)
    assert len(tree) == len(left)


def test_entries_are_counted_as_they_come_whoever_asks_in_between() -> None:
    traders = [Trader.named(f"author {number}") for number in range(5)]
    tree, reference = HeadTree(), HeadTree()
    for number in range(40):
        author = traders[number * 7 % 5]
        tree.advance(author.intake() if author.head.seq else author.genesis())
        if number % 3 == 0:
            whole = sum_of((one.agent, one.head) for one in traders if one.head.seq)
            assert tree.sum(b"") == whole
    convict = traders[0]
    tree.leave_out(convict.agent, convict.head)
    tree.advance(convict.intake())
    for one in traders[1:]:
        reference.put(one.agent, one.head)
    assert tree.sum(b"") == reference.sum(b"")
    assert len(tree) == 4


@given(_logs)
def test_no_news_are_one_small_question_and_one_small_answer(logs: Logs) -> None:
    asked = ask(tree_of(logs), tree_of(logs), logs)
    assert (asked.is_same, asked.requests, asked.found) == (True, 1, {})
    assert asked.bytes <= 256


@given(_logs, st.data())
def test_a_peer_that_says_anything_ends_in_bounded_time(mine: Logs, data: st.DataObject) -> None:
    """Whatever sums it claims: there are so many ranges, and each is asked about once."""
    tree = tree_of(mine)
    comparison = Comparison(tree)
    questions = 0
    says_all_differs = data.draw(st.booleans())
    while ranges := comparison.ask():
        questions += 1
        count = 10**6 if says_all_differs else data.draw(st.integers(0, 2**40))
        parts = [(RangeSum(count, bytes(31) + b"\1"),) * limits.RANGE_PARTS for _ in ranges]
        comparison.take(ranges, parts)
        assert questions <= 100
    assert len(comparison.to_list) <= limits.RANGE_PARTS**limits.RANGE_DIGITS_MAX


def test_answers_that_are_none_are_refused() -> None:
    alice = AgentId(b"\x12" * 32)
    comparison = Comparison(tree_of({alice: Head(1, RecordId(bytes(32)))}))
    ranges = comparison.ask()
    part = RangeSum(1, bytes(32))
    for parts in ((), ((part,),), ((part,) * 16, ())):
        with pytest.raises(MalformedRecord):
            comparison.take(ranges, parts)
    head = LogHead(alice, 1, bytes(32))
    stranger = LogHead(bytes(32), 1, bytes(32))
    for heads, more in (((head, head), False), ((), True), ((stranger,), False)):
        with pytest.raises(MalformedRecord):
            Listing(b"\1", part).take(heads, more=more)
    with pytest.raises(MalformedRecord, match="hex digit"):
        HeadTree().compare([tree_of({}).sum(b"").as_range(b"\x10")])


@pytest.mark.parametrize("prefix", [b"", b"\0", b"\x0f", b"\1\2", b"\1\2\x0f", b"\x0f\x0f\x0f\x0f"])
def test_the_parts_of_a_range_are_all_of_it_and_nothing_else(prefix: bytes) -> None:
    first, last = bounds_of(prefix)
    assert digits_of(first)[: len(prefix)] == digits_of(last)[: len(prefix)] == prefix
    bounds = [bounds_of(part) for part in parts_of(prefix)]
    assert bounds[0][0] == first
    assert bounds[-1][1] == last
    for (_, end), (begin, _) in pairwise(bounds):
        assert int.from_bytes(begin) == int.from_bytes(end) + 1
