"""Keys of an index in 16 bytes each, however long they are: there are several for each record."""

from hashlib import blake2b
from typing import Final

_BYTES: Final = 16


def shorten(key: bytes) -> bytes:
    """Return what stands for ``key``; nobody finds two keys with the same."""
    return blake2b(key, digest_size=_BYTES).digest()
