"""How much of an answer fits into one frame."""

from collections.abc import Sequence
from typing import Final

from bazaar_protocol import limits

_ROOM_BYTES: Final = limits.FRAME_BYTES_MAX - limits.KIB
_HEADER_BYTES: Final = 8


def fitting(raws: Sequence[bytes]) -> int:
    """Return how many of ``raws`` fit into a frame, from the first on."""
    room = _ROOM_BYTES
    for count, raw in enumerate(raws[: limits.RECORDS_PER_FRAME_MAX]):
        room -= len(raw) + _HEADER_BYTES
        if room < 0:
            return count
    return min(len(raws), limits.RECORDS_PER_FRAME_MAX)
