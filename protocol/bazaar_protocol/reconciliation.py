"""How two relays find out which logs differ: sums of heads over ranges of authors.

Range-based set reconciliation (Meyer 2023; negentropy does the same for Nostr). A log is a chain,
so its end stands for all of it: what is compared is the set of authors with their heads. A range is
what begins with some hex digits. Its sum is that of a hash for each head, modulo 2**256, so it is
kept up to date by an addition, and that of a range is the sum of its sixteen parts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import Range, RangeSum

_DOMAIN: Final = b"bazaar/head/1\x00"
_MODULUS: Final = 2**256
_SUM_BYTES: Final = 32
_SEQ_BYTES: Final = 8
_DIGIT_BITS: Final = 4
_DIGIT_MASK: Final = 15


@dataclass(slots=True)
class Sum:
    """How many logs there are in a range, and the sum of their heads."""

    count: int = 0
    total: int = 0

    def move(self, change: int, count: int) -> None:
        """Add what ``weigh`` says of heads that came, less that of heads that went."""
        self.count += count
        self.total = (self.total + change) % _MODULUS

    def as_part(self) -> RangeSum:
        """Return it as it travels, where its place says which range it is."""
        return RangeSum(self.count, self.total.to_bytes(_SUM_BYTES))

    def as_range(self, prefix: bytes) -> Range:
        """Return it as it travels."""
        return Range(prefix, self.count, self.total.to_bytes(_SUM_BYTES))

    def equals(self, other: Range | RangeSum) -> bool:
        """Tell whether somebody else has the same."""
        return self.count == other.count and self.total.to_bytes(_SUM_BYTES) == other.sum


def weigh(author: AgentId, head: Head) -> int:
    """Return the number that stands for a log in the sums of its ranges."""
    raw = _DOMAIN + author + head.seq.to_bytes(_SEQ_BYTES) + head.id
    return int.from_bytes(sha256(raw).digest())


def digits_of(author: AgentId) -> bytes:
    """Return the digits by which ranges are told apart, one in each byte."""
    digits = bytearray()
    for byte in author[: -(-limits.RANGE_DIGITS_MAX // 2)]:
        digits += bytes((byte >> _DIGIT_BITS, byte & _DIGIT_MASK))
    return bytes(digits[: limits.RANGE_DIGITS_MAX])


def parts_of(prefix: bytes) -> list[bytes]:
    """Return the sixteen ranges of which one is made."""
    return [prefix + bytes((digit,)) for digit in range(limits.RANGE_PARTS)]


def bounds_of(prefix: bytes) -> tuple[AgentId, AgentId]:
    """Return the lowest and the highest key that a range can have."""
    check_prefix(prefix)
    padded = len(prefix) % 2
    low = _pack(prefix + bytes(padded))
    high = _pack(prefix + bytes((_DIGIT_MASK,)) * padded)
    return AgentId(low.ljust(_SUM_BYTES, b"\x00")), AgentId(high.ljust(_SUM_BYTES, b"\xff"))


def check_prefix(prefix: bytes) -> None:
    """Check that each byte is a hex digit.

    Raises:
        MalformedRecord: One is not.

    """
    if any(digit > _DIGIT_MASK for digit in prefix):
        raise MalformedRecord("a prefix has a hex digit in each byte")


def sum_of(heads: Iterable[tuple[AgentId, Head]]) -> Sum:
    """Return the sum of some heads."""
    found = Sum()
    for author, head in heads:
        found.move(weigh(author, head), 1)
    return found


def _pack(digits: bytes) -> bytes:
    pairs = zip(digits[::2], digits[1::2], strict=True)
    return bytes(high << _DIGIT_BITS | low for high, low in pairs)
