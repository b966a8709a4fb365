"""docs/protocol.md says what the code does: each field with its type, each frame, each limit."""

import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import msgspec
import pytest

import bazaar_protocol
from bazaar_protocol import (
    errors,
    evidence_kinds,
    fields,
    frames,
    kinds,
    letters,
    limits,
    peering_frames,
)
from bazaar_protocol.task import State

DOC = Path(__file__).parents[2] / "docs" / "protocol.md"
ON_THE_WIRE = (fields, kinds, evidence_kinds, letters, frames, peering_frames)
CODE = sorted(Path(bazaar_protocol.__path__[0]).glob("*.py"))
NESTED = (
    fields.Link, kinds.Capability, kinds.Input, kinds.Acceptance, kinds.Rule, kinds.Lease,
    kinds.BidTerms, kinds.Considered, kinds.Criterion, frames.Filter, peering_frames.Range,
    peering_frames.RangeSum, peering_frames.LogHead, peering_frames.LogSpan,
)  # fmt: skip
REFUSALS = (
    errors.MalformedRecord, errors.TooLarge, errors.BadSignature, errors.BrokenChain,
    errors.Equivocation, errors.StaleEpoch, errors.IllegalTransition,
)  # fmt: skip
CHECKED_BY_RELAYS = {"RECORD_AGE_MS_MAX", "RECORD_FUTURE_MS_MAX", "LETTER_LIFETIME_MS"}


def wire_limits() -> list[str]:
    """Name the limits that another implementation has to know: those that the protocol uses."""
    code = "".join(path.read_text(encoding="utf-8") for path in CODE)
    names = set(re.findall(r"limits\.([A-Z_]+)", code)) | CHECKED_BY_RELAYS
    return sorted(names - {"KIB", "MIB", "DAY_MS"})


def spell(annotation: msgspec.inspect.Type) -> str:
    """Spell a type as the tables of the document do."""
    match annotation:
        case msgspec.inspect.StructType(cls=struct):
            return f"`{struct.__name__}`"
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in sorted(values, key=repr))
        case msgspec.inspect.UnionType(types=types):
            others = [one for one in types if not isinstance(one, msgspec.inspect.NoneType)]
            return " or ".join([*map(spell, others), "nil"])
        case msgspec.inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
            return f"array of {low or 0} to {high} {spell(item)}"
        case _:
            return spell_scalar(annotation)


def spell_scalar(annotation: msgspec.inspect.Type) -> str:
    match annotation:
        case msgspec.inspect.IntType(ge=low, le=limits.INTEGER_MAX):
            return f"uint ≥ {low}"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"uint {low} to {high}"
        case msgspec.inspect.BytesType(min_length=None, max_length=32):
            return "bin, 0 or 32"
        case msgspec.inspect.BytesType(min_length=32, max_length=32):
            return "bin, 32"
        case msgspec.inspect.BytesType(max_length=high):
            return f"bin, ≤ {high}"
        case msgspec.inspect.StrType(pattern=pattern) if pattern is not None:
            return "capability name"
        case msgspec.inspect.StrType(min_length=low, max_length=high):
            return f"str, {low or 0} to {high}"
        case msgspec.inspect.BoolType():
            return "bool"
        case _:
            raise AssertionError(f"no way to spell {annotation}")


def struct_info(struct: type) -> msgspec.inspect.StructType:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return info


def sections() -> dict[str, type]:
    """Say which heading tells of which struct."""
    tagged: list[Any] = [*get_args(letters.Letter), *get_args(frames.Frame)]
    return {
        **{kind.name: kind.body for kind in kinds.KINDS.values()},
        **{struct.__name__: struct for struct in NESTED},
        **{str(struct_info(struct).tag): struct for struct in tagged},
    }


@cache
def document() -> str:
    return DOC.read_text(encoding="utf-8")


def rows(heading: str) -> list[tuple[str, str]]:
    """Return the name and the type in each row of the table below a heading."""
    found = re.search(
        rf"^### `{re.escape(heading)}`.*?(?=^##|\Z)", document(), re.MULTILINE | re.DOTALL
    )
    assert found, f"no section about {heading}"
    return re.findall(r"^\| `(\w+)` \| (.*?) \|", found[0], re.MULTILINE)


@pytest.mark.parametrize("heading", sorted(sections()))
def test_each_field_stands_in_order_with_its_type(heading: str) -> None:
    info = struct_info(sections()[heading])
    assert rows(heading) == [(field.name, spell(field.type)) for field in info.fields]


@pytest.mark.parametrize("module", ON_THE_WIRE, ids=lambda module: module.__name__)
def test_nothing_that_travels_is_left_out(module: ModuleType) -> None:
    structs = {
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and name[0] != "_"
    }
    assert structs
    assert structs - {*sections().values(), msgspec.Struct} == set()


def test_each_kind_says_whether_it_is_logged() -> None:
    for kind in kinds.KINDS.values():
        where = "logged" if kind.is_logged else "loose"
        assert f"### `{kind.name}` ({where})" in document()


@pytest.mark.parametrize("name", wire_limits())
def test_each_limit_stands_with_its_value(name: str) -> None:
    assert f"| `{name}` | {getattr(limits, name)} |" in document()


def test_every_domain_every_state_and_every_code_is_named() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in CODE)
    domains = set(re.findall(r'b"(bazaar/[a-z]+/1)\\x00"', code))
    assert len(domains) >= 7
    states = {state.value for state in State}
    codes = {cls.code for cls in REFUSALS}
    protocols = {frames.RELAY_PROTOCOL, frames.NODE_PROTOCOL}
    for names in (domains, states, codes, protocols):
        assert [name for name in sorted(names) if f"`{name}`" not in document()] == []
