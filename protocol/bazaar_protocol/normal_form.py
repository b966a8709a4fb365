"""Text that is signed has one spelling: Unicode's normal form C (UAX #15).

Otherwise two records could differ and look the same to every reader.
"""

import unicodedata
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from bazaar_protocol.errors import MalformedRecord

TextReader: TypeAlias = Callable[[Any], Iterable[str]]


def check_normal(text: str) -> None:
    """Refuse text that is not in normal form C.

    Raises:
        MalformedRecord: It is not.

    """
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        raise MalformedRecord("text is not in normal form C")


def text_reader(struct: type) -> TextReader | None:
    """Build the function that yields the free texts in a value of ``struct``.

    Most kinds carry none or one, so looking only there costs far less than walking the value.
    None when there are none.
    """
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    readers = [
        (attrgetter(field.name), reader)
        for field in info.fields
        if (reader := _reader_of(field.type)) is not None
    ]
    if not readers:
        return None
    return lambda value: [text for get, read in readers for text in read(get(value))]


def _reader_of(annotation: msgspec.inspect.Type) -> TextReader | None:
    match annotation:
        case msgspec.inspect.StrType(pattern=None):  # the patterns in use allow ASCII only
            return lambda text: (text,)
        case msgspec.inspect.StructType(cls=struct):
            return text_reader(struct)
        case msgspec.inspect.VarTupleType(item_type=msgspec.inspect.StrType()):
            return lambda texts: texts
        case msgspec.inspect.VarTupleType(item_type=item):
            return _each(_reader_of(item))
        case msgspec.inspect.UnionType(types=types):
            readers = [reader for one in types if (reader := _reader_of(one)) is not None]
            assert not readers, "an optional text needs a reader of its own"
            return None
        case _:
            return None


def _each(read: TextReader | None) -> TextReader | None:
    if read is None:
        return None
    return lambda items: [text for item in items for text in read(item)]
