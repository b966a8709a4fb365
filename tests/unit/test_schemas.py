"""Schemas of strangers: what fits, what does not, and what must not keep us busy."""

import asyncio
import json
from collections.abc import AsyncIterator

import psutil
import pytest

from bazaar_node.work import schema_rules
from bazaar_node.work.schemas import SchemaChecker
from bazaar_protocol import limits
from bazaar_protocol.errors import MalformedRecord, SchemaMismatch

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "ages": {"items": {"type": "integer"}}},
    "required": ["name"],
}
PATTERN = {"type": "string", "pattern": "^[a-z]+$"}
BACKTRACKING = {"items": {"not": {"pattern": r"^(a|aa)+\1$"}}}


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


def bomb(levels: int) -> dict[str, object]:
    """Each level is tried twice by the one above it, and every failure is remembered."""
    definitions: dict[str, object] = {
        f"a{level}": {
            "anyOf": [
                {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}, {"minLength": level}]},
                {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}, {"maxLength": 100 + level}]},
            ]
        }
        for level in range(levels)
    }
    definitions[f"a{levels}"] = {"type": "integer"}
    return {"$defs": definitions, "$ref": "#/$defs/a0"}


@pytest.fixture
async def checker() -> AsyncIterator[SchemaChecker]:
    async with SchemaChecker() as checker:
        yield checker


@pytest.mark.parametrize("extra", [{}, {"allOf": [True]}], ids=["in process", "in the worker"])
async def test_a_document_fits_or_it_is_said_where_it_does_not(
    checker: SchemaChecker, extra: dict[str, object]
) -> None:
    schema = dump(PERSON | extra)
    assert schema_rules.is_simple(schema) == (not extra)
    await checker.validate(schema, dump({"name": "ada", "ages": [1]}))
    with pytest.raises(SchemaMismatch, match="integer") as caught:
        await checker.validate(schema, dump({"name": "ada", "ages": [1, "two"]}))
    assert caught.value.path == "/ages/1"
    assert caught.value.code == "schema"
    with pytest.raises(SchemaMismatch, match="name"):
        await checker.validate(schema, b"{}")


async def test_no_schema_fits_everything(checker: SchemaChecker) -> None:
    await checker.validate(b"", b"\xff not even JSON")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff",
        b"{",
        b"NaN",
        b"1e999",
        b'{"name": "ada", "name": "eve"}',
        b"9" * 5000,
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b'"' + b"\\" * 100_000,
    ],
    ids=lambda raw: repr(raw[:20]),
)
@pytest.mark.parametrize("schema", [b"{}", b'{"allOf":[true]}'])
async def test_what_is_no_json_fits_nothing(
    checker: SchemaChecker, schema: bytes, document: bytes
) -> None:
    with pytest.raises(SchemaMismatch):
        await checker.validate(schema, document)


@pytest.mark.parametrize("schema", [b"{}", b'{"allOf":[true]}'])
async def test_odd_but_legal_json_harms_nobody(checker: SchemaChecker, schema: bytes) -> None:
    await checker.validate(schema, b'{"": [' + b"9" * 400 + b', "]]]]", "\\"[", 0.1e-9]}')
    with pytest.raises(SchemaMismatch):
        await checker.validate(b'{"type":"array"}', b'"\\ud800"')
    await checker.validate(schema, b"1")


@pytest.mark.parametrize(
    "schema",
    [
        b"[]",
        b"3",
        b"{",
        b'{"type": "strin"}',
        b'{"pattern": "("}',
        b'{"$ref": "http://127.0.0.1:1/schema"}',
        b'{"properties": {"a": {"$dynamicRef": "file:///etc/hostname"}}}',
        b'{"$schema": "http://127.0.0.1:1/meta"}',
        b'{"$ref": "#/$defs/missing"}',
        b'{"x":' * 33 + b"1" + b"}" * 33,
        b" " * (limits.SCHEMA_BYTES_MAX + 1) + b"{}",
    ],
    ids=lambda raw: repr(raw[:30]),
)
async def test_what_is_no_schema_is_refused(checker: SchemaChecker, schema: bytes) -> None:
    with pytest.raises(MalformedRecord):
        await checker.check_schema(schema)


@pytest.mark.parametrize("name", ["$ref", "$dynamicRef", "$recursiveRef"])
async def test_a_reference_that_leads_out_is_named(checker: SchemaChecker, name: str) -> None:
    for target in ("http://127.0.0.1:1/schema", "other.json", "file:///etc/hostname"):
        with pytest.raises(MalformedRecord, match=f"leads out of the schema: {target}"):
            await checker.check_schema(dump({"items": [{name: target}]}))


async def test_a_schema_is_accepted(checker: SchemaChecker) -> None:
    for schema in (PERSON, PATTERN, bomb(18), True):
        await checker.check_schema(dump(schema))
    await checker.check_schema(b"")  # anything goes


async def test_the_famous_pattern_is_answered_at_once(checker: SchemaChecker) -> None:
    schema = dump({"type": "string", "pattern": "^(a+)+$"})
    async with asyncio.timeout(limits.SCHEMA_TIMEOUT_S + 10):
        with pytest.raises(SchemaMismatch):
            await checker.validate(schema, dump("a" * 26 + "!"))


@pytest.mark.parametrize(
    ("schema", "document"),
    [(bomb(20), "x" * 50), (BACKTRACKING, ["a" * 20 + "!"] * 50_000)],
    ids=["references", "patterns"],
)
async def test_a_hostile_schema_costs_its_deadline_and_no_more(
    checker: SchemaChecker,
    schema: object,
    document: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await checker.validate(dump(PATTERN), b'"warm"')
    worker = checker._worker
    assert worker is not None
    monkeypatch.setattr(limits, "SCHEMA_TIMEOUT_S", 0.5)
    started_at = asyncio.get_running_loop().time()
    with pytest.raises(SchemaMismatch, match="within"):
        await checker.validate(dump(schema), dump(document))
    assert asyncio.get_running_loop().time() - started_at < 5
    assert not psutil.pid_exists(worker.pid)
    monkeypatch.undo()
    await checker.validate(dump(PATTERN), b'"abc"')


async def test_a_cancelled_check_leaves_no_answer_for_the_next(checker: SchemaChecker) -> None:
    await checker.validate(dump(PATTERN), b'"warm"')
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await checker.validate(dump(bomb(20)), dump("x" * 50))
    await checker.validate(dump(PATTERN), b'"abc"')


async def test_a_killed_worker_is_replaced(checker: SchemaChecker) -> None:
    await checker.validate(dump(PATTERN), b'"abc"')
    worker = checker._worker
    assert worker is not None
    worker.kill()
    await worker.wait()
    await checker.validate(dump(PATTERN), b'"abc"')


async def test_a_document_that_is_too_large_is_not_looked_at(checker: SchemaChecker) -> None:
    with pytest.raises(SchemaMismatch, match="more than"):
        await checker.validate(b"{}", b" " * (limits.DOCUMENT_BYTES_MAX + 1))
    assert checker._worker is None
