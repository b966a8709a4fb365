"""Merkle trees as in RFC 9162 (2.1): one hash for many records, and short proofs of what it holds.

A relay's ``intake`` carries the hash of a tree whose leaves are the ids of the records that it
accepted. Leaves and inner nodes are hashed under different first bytes, so that no inner node can
pass for a leaf.
"""

from collections.abc import Sequence
from hashlib import sha256

from bazaar_protocol.errors import MalformedRecord


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """Return the root over ``leaves``; a tree of none has the hash of nothing."""
    return join([sha256(b"\x00" + leaf).digest() for leaf in leaves])


def join(roots: Sequence[bytes]) -> bytes:
    """Return the root over trees that stand side by side, of which these are the roots.

    All have one size, a power of two, but for the last, which may be smaller. So a large tree can
    be made of small ones as its leaves come in.
    """
    if not roots:
        return sha256().digest()
    level = list(roots)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def inclusion_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the hashes that lead from the leaf at ``index`` to the root, its neighbour first."""
    return joined_path([_leaf(leaf) for leaf in leaves], index)


def joined_path(roots: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the hashes that lead on from the tree at ``index`` of those ``join`` takes."""
    assert 0 <= index < len(roots), f"there are {len(roots)} of them, and none at {index}"
    path: list[bytes] = []
    level = list(roots)
    while len(level) > 1:
        neighbour = index ^ 1
        if neighbour < len(level):  # else it stands alone at the end, and moves up as it is
            path.append(level[neighbour])
        level = _above(level)
        index >>= 1
    return tuple(path)


def check_inclusion(
    leaf: bytes, path: Sequence[bytes], root: bytes, *, index: int, count: int
) -> None:
    """Check that ``leaf`` is the one at ``index`` in the tree of ``count`` leaves below ``root``.

    The work is bounded by the length of the path.

    Raises:
        MalformedRecord: It is not, or the path does not show it.

    """
    if not 0 <= index < count:
        raise MalformedRecord(f"a tree of {count} leaves has none at {index}")
    node = _leaf(leaf)
    last = count - 1  # the place of the last node of the level, as index is that of ours
    for neighbour in path:
        if last == 0:
            raise MalformedRecord("the path is longer than the tree is high")
        if index % 2:
            node = _inner(neighbour, node)
        elif index == last:
            # Alone at the end of its level, it has moved up to where it has a neighbour.
            while index % 2 == 0:
                index >>= 1
                last >>= 1
            node = _inner(neighbour, node)
        else:
            node = _inner(node, neighbour)
        index >>= 1
        last >>= 1
    if last != 0 or node != root:
        raise MalformedRecord("the path does not lead from the leaf to the root")


def _above(level: list[bytes]) -> list[bytes]:
    pairs = zip(level[::2], level[1::2], strict=False)
    alone = level[-1:] if len(level) % 2 else []
    # Written out, as all of it happens for each record that a relay takes in.
    return [sha256(b"\x01" + left + right).digest() for left, right in pairs] + alone


def _leaf(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def _inner(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
