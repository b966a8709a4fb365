"""What the types of a body cannot say: its text is in normal form C, a hash is whole or absent."""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec

from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.normal_form import check_normal

Checker: TypeAlias = Callable[[Any], None]
_Reader: TypeAlias = Callable[[Any], Iterable[Any]]
_IsWanted: TypeAlias = Callable[[msgspec.inspect.Type], bool]

_HASH_BYTES: Final = 32


def checker(struct: type) -> Checker:
    """Build the function that checks a value of ``struct`` and raises ``MalformedRecord``.

    Most kinds have one such field or none, so looking only there costs far less than walking
    the value.
    """
    read_texts = _reader_of_struct(struct, _is_free_text)
    read_hashes = _reader_of_struct(struct, _is_optional_hash)

    def check(body: Any) -> None:
        if read_texts is not None:
            for text in read_texts(body):
                check_normal(text)
        if read_hashes is not None:
            for value in read_hashes(body):
                if len(value) not in {0, _HASH_BYTES}:
                    raise MalformedRecord(
                        f"a hash has {_HASH_BYTES} bytes, or none where there is none, "
                        f"not {len(value)}"
                    )

    return check


def _is_free_text(annotation: msgspec.inspect.Type) -> bool:
    # The patterns in use allow ASCII only.
    return isinstance(annotation, msgspec.inspect.StrType) and annotation.pattern is None


def _is_optional_hash(annotation: msgspec.inspect.Type) -> bool:
    return (
        isinstance(annotation, msgspec.inspect.BytesType)
        and annotation.max_length == _HASH_BYTES
        and not annotation.min_length
    )


def _reader_of_struct(struct: type, is_wanted: _IsWanted) -> _Reader | None:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    readers = [
        (attrgetter(field.name), reader)
        for field in info.fields
        if (reader := _reader_of(field.type, is_wanted)) is not None
    ]
    if not readers:
        return None
    return lambda value: [item for get, read in readers for item in read(get(value))]


def _reader_of(annotation: msgspec.inspect.Type, is_wanted: _IsWanted) -> _Reader | None:
    if is_wanted(annotation):
        return lambda value: (value,)
    match annotation:
        case msgspec.inspect.StructType(cls=struct):
            return _reader_of_struct(struct, is_wanted)
        case msgspec.inspect.VarTupleType(item_type=item):
            return _each(_reader_of(item, is_wanted))
        case msgspec.inspect.UnionType(types=types):
            readers = [one for one in types if _reader_of(one, is_wanted) is not None]
            assert not readers, "such a field behind an option needs a reader of its own"
            return None
        case _:
            return None


def _each(read: _Reader | None) -> _Reader | None:
    if read is None:
        return None
    return lambda items: [item for one in items for item in read(one)]
