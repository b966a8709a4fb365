"""Bodies of kinds from the future: checked to the letter without knowing what they mean.

A node that does not know a kind still stores and passes on its records, so it has to judge the same
bytes canonical as a node that does. One pass, without recursion, so nesting costs a stranger more
than it costs us.
"""

from typing import Final, TypeAlias

from bazaar_protocol import codec, limits
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.normal_form import check_normal

Plain: TypeAlias = "int | str | bytes | bool | tuple[Plain, ...] | None"
"""What signed bytes may hold."""

Scalar: TypeAlias = int | str | bytes | bool | None

_CONSTANTS: Final[dict[int, bool | None]] = {0xC0: None, 0xC2: False, 0xC3: True}
_BINARY: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_TEXT: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_UNSIGNED: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED: Final = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


def read_plain(raw: bytes) -> tuple[Plain, ...]:
    """Read a canonical msgpack array of plain values.

    Raises:
        MalformedRecord: It is no array, not canonical, nested deeper than ``DEPTH_MAX``, or holds
            a float, a map, an extension type, an integer past ``INTEGER_MAX`` or text that is not
            in normal form C.

    """
    reader = _Reader(raw)
    count = reader.array_count(reader.unsigned(1))
    if count is None:
        raise MalformedRecord("the body of a record is an array")
    value = _read_items(reader, count)
    if reader.at != len(raw):
        raise MalformedRecord(f"{len(raw) - reader.at} bytes follow the body")
    return value


def _read_items(reader: "_Reader", count: int) -> tuple[Plain, ...]:
    outer: list[tuple[list[Plain], int]] = []
    items: list[Plain] = []
    while True:
        while len(items) == count:
            value = tuple(items)
            if not outer:
                return value
            items, count = outer.pop()
            items.append(value)
        first = reader.unsigned(1)
        if first < 0x80:
            items.append(first)
        elif (inner := reader.array_count(first)) is not None:
            if len(outer) + 1 == limits.DEPTH_MAX:
                raise MalformedRecord(f"nested deeper than {limits.DEPTH_MAX}")
            outer.append((items, count))
            items, count = [], inner
        else:
            items.append(reader.scalar(first))


class _Reader:
    """Reads one item after the other; each has one valid encoding."""

    __slots__ = ("at", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def unsigned(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big")

    def array_count(self, first: int) -> int | None:
        """Return how many items follow, or None when ``first`` begins no array."""
        if 0x90 <= first <= 0x9F:
            return first - 0x90
        if first == 0xDC:
            return self._count(2, shorter_max=0x0F)
        if first == 0xDD:
            return self._count(4, shorter_max=0xFFFF)
        return None

    def scalar(self, first: int) -> Scalar:
        start = self.at - 1
        value = self._scalar(first)
        if codec.encode(value) != self.raw[start : self.at]:
            raise MalformedRecord("not the canonical encoding")
        return value

    def _scalar(self, first: int) -> Scalar:
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if 0xA0 <= first <= 0xBF:
            return self._text(first - 0xA0)
        if first in _TEXT:
            return self._text(self.unsigned(_TEXT[first]))
        if first in _BINARY:
            return self._take(self.unsigned(_BINARY[first]))
        if first >= 0xE0:
            return first - 0x100
        if first in _UNSIGNED:
            return _check_integer(self.unsigned(_UNSIGNED[first]))
        if first in _SIGNED:
            return _check_integer(int.from_bytes(self._take(_SIGNED[first]), "big", signed=True))
        raise MalformedRecord(f"no value in signed bytes begins with {first:#04x}")

    def _take(self, count: int) -> bytes:
        piece = self.raw[self.at : self.at + count]
        if len(piece) != count:
            raise MalformedRecord("the body is cut off")
        self.at += count
        return piece

    def _text(self, length: int) -> str:
        try:
            text = self._take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedRecord(str(error)) from error
        check_normal(text)
        return text

    def _count(self, width: int, *, shorter_max: int) -> int:
        count = self.unsigned(width)
        if count <= shorter_max:
            raise MalformedRecord("not the canonical encoding")
        return count


def _check_integer(value: int) -> int:
    if not -limits.INTEGER_MAX <= value <= limits.INTEGER_MAX:
        raise MalformedRecord(f"{value} exceeds the limit of integers")
    return value
