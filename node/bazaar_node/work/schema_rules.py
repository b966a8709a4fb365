"""What we accept as a JSON Schema and as a document, and whether the one fits the other.

Everything here runs to its end, however long a hostile schema makes that; ``schemas`` decides
where it may run. Nothing is ever fetched: a schema has to be complete in itself.
"""

import json
import math
import re
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs

from bazaar_protocol import limits
from bazaar_protocol.errors import MalformedRecord, SchemaMismatch, TooLarge
from bazaar_protocol.untrusted import clean

SIMPLE_SCHEMA_BYTES_MAX: Final = 4 * limits.KIB
SIMPLE_DOCUMENT_BYTES_MAX: Final = 16 * limits.KIB
_REASON_CHARS_MAX: Final = 200
_TOKENS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_REFERENCES: Final = frozenset(("$ref", "$dynamicRef", "$recursiveRef"))
_SIMPLE: Final = frozenset(
    (
        *("type", "properties", "required", "items", "additionalProperties", "enum", "const"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"),
        *("minItems", "maxItems", "minProperties", "maxProperties"),
        *("title", "description", "default", "$comment"),
    )
)


def check_schema(schema: bytes) -> None:
    """Check that ``schema`` is a JSON Schema that can be used.

    Raises:
        MalformedRecord: It is not, or it refers to something outside of itself.

    """
    _compiled(schema)


def check_document(schema: bytes, document: bytes) -> None:
    """Check that ``document`` is JSON that fits ``schema``.

    Raises:
        SchemaMismatch: It does not.
        MalformedRecord: The schema is not one.

    """
    validator = _compiled(schema)
    try:
        value = _parse(document, limits.DOCUMENT_BYTES_MAX)
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        pointer = "".join(f"/{part}" for part in error.instance_path)
        raise SchemaMismatch(_shown(pointer), _shown(error.message)) from error
    except (MalformedRecord, ValueError) as error:
        raise SchemaMismatch("", _shown(f"not a JSON document: {error}")) from error


def is_simple(schema: bytes) -> bool:
    """Say whether checking with ``schema`` takes a time that is linear in the document.

    No pattern, no reference and no combination of schemas; only what looks at each value once.

    Raises:
        MalformedRecord: The schema is not one.

    """
    return len(schema) <= SIMPLE_SCHEMA_BYTES_MAX and _is_simple(_parse_schema(schema))


@lru_cache(maxsize=64)
def _compiled(schema: bytes) -> jsonschema_rs.Validator:
    value = _parse_schema(schema)
    try:
        # Masked: what strangers wrote is not to be repeated in an error more than it must.
        return jsonschema_rs.validator_for(value, offline=True, mask="the value")
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        reason = error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
        raise MalformedRecord(_shown(f"not a JSON Schema: {reason}")) from error


@lru_cache(maxsize=64)
def _parse_schema(schema: bytes) -> Any:
    try:
        value = _parse(schema, limits.SCHEMA_BYTES_MAX)
    except ValueError as error:
        raise MalformedRecord(_shown(f"not a JSON Schema: {error}")) from error
    if not isinstance(value, dict | bool):
        raise MalformedRecord("a JSON Schema is an object or a truth value")
    _check_references(value)
    return value


def _parse(raw: bytes, bytes_max: int) -> Any:
    if len(raw) > bytes_max:
        raise TooLarge(f"{len(raw)} bytes of JSON exceed the limit of {bytes_max}")
    _check_depth(raw)
    return json.loads(
        raw.decode(), parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_unique
    )


def _check_depth(raw: bytes) -> None:
    """Refuse deep nesting before the parser recurses into it."""
    depth = 0
    for token in _TOKENS.finditer(raw):
        first = raw[token.start()]
        if first in b"[{":
            depth += 1
            if depth > limits.JSON_DEPTH_MAX:
                raise MalformedRecord(f"JSON nested deeper than {limits.JSON_DEPTH_MAX}")
        elif first in b"]}":
            depth -= 1


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two values for one name, one reader takes the first and another the last.
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a name twice")
    return value


def _check_references(value: Any) -> None:
    match value:
        case dict():
            for name, inner in value.items():
                is_reference = name in _REFERENCES and isinstance(inner, str)
                if is_reference and not inner.startswith("#"):
                    raise MalformedRecord(_shown(f"{name} leads out of the schema: {inner}"))
                _check_references(inner)
        case list():
            for inner in value:
                _check_references(inner)
        case _:
            return


def _is_simple(schema: Any) -> bool:
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or not _SIMPLE.issuperset(schema):
        return False
    properties = schema.get("properties", {})
    inner = [*properties.values()] if isinstance(properties, dict) else [None]
    inner += [schema[name] for name in ("items", "additionalProperties") if name in schema]
    return all(map(_is_simple, inner))


def _shown(text: str) -> str:
    return clean(text, _REASON_CHARS_MAX)
