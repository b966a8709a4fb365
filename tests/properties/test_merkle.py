"""Merkle trees against the definition of RFC 9162, and paths that prove one leaf and no other."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given, strategies as st

from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.merkle import (
    check_inclusion,
    inclusion_path,
    join,
    joined_path,
    tree_hash,
)

SIZES = range(1, 41)
LEAVES = [sha256(b"%d" % number).digest() for number in range(200)]
sizes = st.sampled_from(SIZES)


def split(count: int) -> int:
    """The greatest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def defined_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + defined_hash(leaves[:k]) + defined_hash(leaves[k:])).digest()


def defined_path(index: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """PATH of RFC 9162, 2.1.3.1, word for word."""
    if len(leaves) == 1:
        return ()
    k = split(len(leaves))
    if index < k:
        return (*defined_path(index, leaves[:k]), defined_hash(leaves[k:]))
    return (*defined_path(index - k, leaves[k:]), defined_hash(leaves[:k]))


def turns(index: int, count: int) -> str:
    """The way from the leaf at ``index`` up to the root: on which side it is at each step."""
    if count == 1:
        return ""
    k = split(count)
    return turns(index, k) + "L" if index < k else turns(index - k, count - k) + "R"


def holds(leaf: bytes, path: Sequence[bytes], root: bytes, *, index: int, count: int) -> bool:
    try:
        check_inclusion(leaf, path, root, index=index, count=count)
    except MalformedRecord:
        return False
    return True


def flip(value: bytes, bit: int) -> bytes:
    flipped = bytearray(value)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def test_a_tree_is_as_the_rfc_defines_it() -> None:
    for count in (0, *SIZES, 127, 128, 129, 200):
        assert tree_hash(LEAVES[:count]) == defined_hash(LEAVES[:count])


@pytest.mark.parametrize("count", SIZES)
def test_every_leaf_of_every_size_is_shown_by_its_path(count: int) -> None:
    leaves = LEAVES[:count]
    root = tree_hash(leaves)
    for index, leaf in enumerate(leaves):
        path = inclusion_path(leaves, index)
        assert path == defined_path(index, leaves)
        check_inclusion(leaf, path, root, index=index, count=count)


@pytest.mark.parametrize("count", SIZES)
def test_no_path_shows_another_leaf_or_another_place(count: int) -> None:
    """The count tells no more than the height does, so it has to come from a signed receipt."""
    leaves = LEAVES[:count]
    root = tree_hash(leaves)
    for index, leaf in enumerate(leaves):
        path = inclusion_path(leaves, index)
        way = turns(index, count)
        for other in range(-1, count + 2):
            is_there = holds(leaf, path, root, index=other, count=count)
            assert is_there == (other == index)
            if 0 <= other < count and other != index:
                assert not holds(leaves[other], path, root, index=index, count=count)
        for size in range(2 * count + 2):
            is_there = holds(leaf, path, root, index=index, count=size)
            assert is_there == (index < size and turns(index, size) == way)


@given(sizes, st.data())
def test_any_changed_bit_is_refused(count: int, data: st.DataObject) -> None:
    leaves = LEAVES[:count]
    root = tree_hash(leaves)
    index = data.draw(st.integers(0, count - 1))
    path = inclusion_path(leaves, index)
    parts = [leaves[index], root, *path]
    at = data.draw(st.integers(0, len(parts) - 1))
    parts[at] = flip(parts[at], data.draw(st.integers(0, 255)))
    assert not holds(parts[0], parts[2:], parts[1], index=index, count=count)


@given(sizes, st.data())
def test_a_path_that_is_cut_or_longer_or_in_another_order_is_refused(
    count: int, data: st.DataObject
) -> None:
    leaves = LEAVES[:count]
    root = tree_hash(leaves)
    index = data.draw(st.integers(0, count - 1))
    path = list(inclusion_path(leaves, index))
    at = data.draw(st.integers(0, len(path)))
    longer = [*path[:at], data.draw(st.sampled_from([*path, root, bytes(32)])), *path[at:]]
    assert not holds(leaves[index], longer, root, index=index, count=count)
    if path:
        cut = path[:at] + path[at + 1 :] if at < len(path) else path[1:]
        assert not holds(leaves[index], cut, root, index=index, count=count)
    other = data.draw(st.permutations(path))
    is_same = other == path
    assert holds(leaves[index], other, root, index=index, count=count) == is_same


@given(st.integers(2, 12), st.data())
def test_an_inner_node_is_no_leaf(count: int, data: st.DataObject) -> None:
    """Without the two first bytes, whoever knows a tree could show leaves that nobody put there."""
    leaves = LEAVES[:count]
    index = data.draw(st.integers(0, count - 1))
    path = inclusion_path(leaves, index)
    own, neighbour = sha256(b"\x00" + leaves[index]).digest(), path[0]
    for forged in (own + neighbour, neighbour + own, own):
        for size in range(1, count + 1):
            for place in range(size):
                for way in (path, path[1:]):
                    assert not holds(forged, way, tree_hash(leaves), index=place, count=size)


@given(st.integers(0, 4), st.integers(1, 200), st.data())
def test_a_tree_made_of_small_ones_is_the_same(
    height: int, count: int, data: st.DataObject
) -> None:
    leaves, size = LEAVES[:count], 1 << height
    parts = [leaves[at : at + size] for at in range(0, count, size)]
    roots = [tree_hash(part) for part in parts]
    assert join(roots) == tree_hash(leaves)
    index = data.draw(st.integers(0, count - 1))
    near = inclusion_path(parts[index // size], index % size)
    assert near + joined_path(roots, index // size) == inclusion_path(leaves, index)


@given(
    st.binary(max_size=64),
    st.lists(st.binary(max_size=40), max_size=40),
    st.integers(-3, 2**54),
    st.integers(-3, 2**54),
)
def test_garbage_is_malformed(leaf: bytes, path: list[bytes], index: int, count: int) -> None:
    assert not holds(leaf, path, bytes(32), index=index, count=count)


def test_a_path_through_the_largest_tree_is_followed_to_its_end() -> None:
    """As many steps as the path has, however great the numbers."""
    leaf, last = LEAVES[0], 2**53 - 1
    node = sha256(b"\x00" + leaf).digest()
    for neighbour in LEAVES[:53]:
        node = sha256(b"\x01" + neighbour + node).digest()
    check_inclusion(leaf, LEAVES[:53], node, index=last, count=last + 1)
    assert not holds(leaf, LEAVES[:53], node, index=last, count=last + 2)
    lonely = sha256(b"\x01" + LEAVES[1] + sha256(b"\x00" + leaf).digest()).digest()
    check_inclusion(leaf, LEAVES[1:2], lonely, index=2**52, count=2**52 + 1)
