"""Hypothesis strategies for everything that travels, and small makers of valid examples."""

import unicodedata
from hashlib import sha256
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bazaar_protocol import codec, frames, kinds, letters, limits
from bazaar_protocol.identity import Keypair

ADA, BO, CY, DEE = (Keypair.from_name(name) for name in ("ada", "bo", "cy", "dee"))
"""Agents whose keys anyone can derive."""

ITEMS_MAX = 4
"""Strategies make lists no longer than this; the limits themselves have tests of their own."""


def texts(min_size: int = 0, max_size: int = 40) -> SearchStrategy[str]:
    """Texts in normal form C, of every alphabet."""
    raw = st.text(min_size=min_size, max_size=max_size)
    normal = raw.map(lambda text: unicodedata.normalize("NFC", text))
    return normal.filter(lambda text: min_size <= len(text) <= max_size)


def of_type(annotation: msgspec.inspect.Type) -> SearchStrategy[Any]:
    """Every value that ``annotation`` allows, more or less; so a new kind is tested unasked."""
    match annotation:
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([of_type(one) for one in types])
        case msgspec.inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
            size = min(high or ITEMS_MAX, ITEMS_MAX)
            return st.lists(of_type(item), min_size=low or 0, max_size=size).map(tuple)
        case msgspec.inspect.StructType(cls=struct):
            return structs(struct)
        case _:
            return scalars(annotation)


def scalars(annotation: msgspec.inspect.Type) -> SearchStrategy[Any]:
    """Values of a type that has no parts."""
    match annotation:
        case msgspec.inspect.IntType(ge=low, le=high):
            return st.integers(low or 0, limits.INTEGER_MAX if high is None else high)
        case msgspec.inspect.BytesType(min_length=None, max_length=32):
            return st.sampled_from([b"", bytes(32)]) | st.binary(min_size=32, max_size=32)
        case msgspec.inspect.BytesType(min_length=low, max_length=high):
            return st.binary(min_size=low or 0, max_size=min(high or 64, max(low or 0, 64)))
        case msgspec.inspect.StrType(pattern=None, min_length=low, max_length=high):
            return texts(low or 0, min(high or 40, 40))
        case msgspec.inspect.StrType():
            return st.from_regex(r"[a-z0-9_-]{1,8}(\.[a-z0-9_-]{1,8}){0,3}", fullmatch=True)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(sorted(values, key=repr))
        case _:
            raise AssertionError(f"no strategy for {annotation}")


def structs(struct: type) -> SearchStrategy[Any]:
    """Values of a body, a letter or a frame."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return st.builds(struct, **{field.name: of_type(field.type) for field in info.fields})


def bodies() -> SearchStrategy[kinds.Body]:
    """Bodies of every kind."""
    return st.sampled_from(sorted(kinds.KINDS)).flatmap(lambda name: BODIES[name])


def all_frames() -> SearchStrategy[frames.Frame]:
    """Frames of every name."""
    return st.sampled_from(FRAMES).flatmap(structs)


def all_letters() -> SearchStrategy[letters.Letter]:
    """Letters of every kind."""
    return st.sampled_from(get_args(letters.Letter)).flatmap(structs)


def plain_values() -> SearchStrategy[tuple[Any, ...]]:
    """What the body of a kind from the future may hold."""
    whole = st.integers(-limits.INTEGER_MAX, limits.INTEGER_MAX)
    leaves = st.none() | st.booleans() | whole | texts() | st.binary(max_size=300)
    nested = st.recursive(
        leaves, lambda items: st.lists(items, max_size=20).map(tuple), max_leaves=30
    )
    return st.lists(nested, max_size=20).map(tuple).filter(lambda value: depth(value) <= 8)


def depth(value: object) -> int:
    """How deep arrays are nested in ``value``; 0 for a scalar."""
    if not isinstance(value, tuple):
        return 0
    return 1 + max((depth(item) for item in value), default=0)


BODIES = {name: structs(kind.body) for name, kind in kinds.KINDS.items()}
FRAMES = sorted({*get_args(frames.Frame)}, key=lambda frame: frame.__name__)


def place(kind: str) -> dict[str, Any]:
    """Arguments of ``seal`` that fit the kind: a place in the log, or none."""
    if kind == "genesis":
        return {"time_ms": 1_000, "seq": 1, "prev": bytes(32)}
    if kinds.KINDS[kind].is_logged:
        return {"time_ms": 2_000, "seq": 7, "prev": sha256(b"before").digest()}
    return {"time_ms": 3_000}


def make_post(**changes: Any) -> kinds.Post:
    """A post of ada's that contradicts itself nowhere, with ``changes``."""
    data = b'{"path":"report.csv"}'
    post = kinds.Post(
        title="extract the table",
        capability="pdf.extract",
        capability_version=2,
        mode="auction",
        input=kinds.Input(data, sha256(data).digest(), len(data), "application/json", False),
        output_schema=b"{}",
        acceptance=kinds.Acceptance("schema", b"", None, 60_000),
        price=100,
        bid_window_ms=1_000,
        rule=kinds.Rule(4_000, 2_000, 2_000, 2_000),
        lease=kinds.Lease(2_000, 30_000, 6_000, 3),
        sequencer=ADA.agent,
        worker=None,
        bidders_max=8,
        sealed=False,
        canary=b"",
        tags=("pdf", "table"),
        idempotency_key="once",
        addresses=("/ip4/127.0.0.1/tcp/4001",),
        expires_in_ms=60_000,
    )
    return msgspec.structs.replace(post, **changes)


def array(*items: bytes) -> bytes:
    """Up to 15 items that are encoded already, as a msgpack array."""
    assert len(items) < 16
    return bytes([0x90 + len(items)]) + b"".join(items)


def sealed_payload(keys: Keypair, payload: bytes) -> bytes:
    """Sign any bytes as a record: what a hostile author can do."""
    signature = keys.sign(b"bazaar/record/1\x00", payload)
    return array(codec.encode(payload), codec.encode(signature))


def raw_payload(keys: Keypair, kind: str, body: bytes, *, seq: int = 0, prev: bytes = b"") -> bytes:
    """A payload with any bytes as its body, signed; ``kind`` decides the rest."""
    head = [codec.encode(item) for item in (1, kind, keys.agent, seq, prev, 5)]
    return sealed_payload(keys, array(*head, body))
