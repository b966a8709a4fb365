"""Bytes that are signed or sent: msgpack with exactly one valid encoding for each value.

Decoders are built once, at import: faster, and a type that msgspec cannot handle then fails when
the process starts, not when a stranger's bytes arrive.
"""

from typing import Final, TypeVar

import msgspec

from bazaar_protocol import limits
from bazaar_protocol.errors import MalformedRecord, TooLarge
from bazaar_protocol.untrusted import clean

T = TypeVar("T")

_REASON_CHARS_MAX: Final = 160
_encoder: Final = msgspec.msgpack.Encoder()


def encode(value: object) -> bytes:
    """Encode ``value`` in the canonical form.

    Raises:
        MalformedRecord: A text in it is no Unicode (half of a surrogate pair), or an integer has
            more than 64 bits.

    """
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, OverflowError) as error:
        raise MalformedRecord(_tell(error)) from error


def decode(
    raw: bytes,
    decoder: msgspec.msgpack.Decoder[T],
    *,
    bytes_max: int = limits.PAYLOAD_BYTES_MAX,
) -> T:
    """Decode a stranger's bytes with ``decoder``, refusing every encoding but the canonical one.

    Raises:
        TooLarge: More than ``bytes_max`` bytes.
        MalformedRecord: Not what ``decoder`` expects, or not canonical.

    """
    if len(raw) > bytes_max:
        raise TooLarge(f"{len(raw)} bytes exceed the limit of {bytes_max}")
    try:
        value = decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # msgspec does not wrap the last two; uncaught, any stranger could stop this process.
        raise MalformedRecord(_tell(error)) from error
    # One value, one encoding: otherwise the same record could travel under two ids.
    if _encoder.encode(value) != raw:
        raise MalformedRecord("not the canonical encoding")
    return value


def _tell(error: Exception) -> str:
    # msgspec quotes the stranger's text, of any length and with any characters.
    return clean(str(error), _REASON_CHARS_MAX)
