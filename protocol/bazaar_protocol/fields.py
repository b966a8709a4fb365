"""The types of the fields of records and frames: each says its own bound."""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from bazaar_protocol import limits

Id: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Key: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Uint: TypeAlias = Annotated[int, Meta(ge=0, le=limits.INTEGER_MAX)]
Seq: TypeAlias = Annotated[int, Meta(ge=1, le=limits.INTEGER_MAX)]
BasisPoints: TypeAlias = Annotated[int, Meta(ge=0, le=10_000)]
Percent: TypeAlias = Annotated[int, Meta(ge=0, le=100)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
Label: TypeAlias = Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)]
Text: TypeAlias = Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)]
CapabilityName: TypeAlias = Annotated[
    str, Meta(max_length=limits.NAME_CHARS_MAX, pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z")
]
Schema: TypeAlias = Annotated[bytes, Meta(max_length=limits.SCHEMA_BYTES_MAX)]
Address: TypeAlias = Annotated[str, Meta(max_length=limits.ADDRESS_CHARS_MAX)]
Addresses: TypeAlias = Annotated[tuple[Address, ...], Meta(max_length=limits.ADDRESSES_MAX)]
Tags: TypeAlias = Annotated[tuple[Name, ...], Meta(max_length=limits.TAGS_MAX)]
MaybeId: TypeAlias = Annotated[bytes, Meta(max_length=32)]
"""A hash, or empty bytes where there is none."""
InclusionPath: TypeAlias = Annotated[tuple[Id, ...], Meta(max_length=limits.INCLUSION_PATH_MAX)]
"""The hashes that lead from a leaf of a Merkle tree to its root, the leaf's neighbour first."""


class Link(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Another author's logged record, named so that cutting it off contradicts this one."""

    author: Key
    seq: Seq
    id: Id
