"""Text that is signed has one spelling: Unicode's normal form C (UAX #15).

Otherwise two records could differ and look the same to every reader.
"""

import unicodedata

from bazaar_protocol.errors import MalformedRecord


def check_normal(text: str) -> None:
    """Refuse text that is not in normal form C.

    Raises:
        MalformedRecord: It is not.

    """
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        raise MalformedRecord("text is not in normal form C")


def to_normal(text: str, chars_max: int) -> str:
    """Return ``text`` as it may be signed: in normal form, cut to ``chars_max`` characters.

    Halves of surrogate pairs, as in the names of files that are no Unicode, become ``?``.
    """
    whole = text.encode(errors="replace").decode()
    return unicodedata.normalize("NFC", whole)[:chars_max]
