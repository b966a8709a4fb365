"""A task written down in a file: TOML for people, JSON for programs.

Its names are those of ``PostRequest``. What is bytes there is text here, or a table that becomes
JSON; ``input_file`` and ``output_schema_file`` name files beside it instead.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Final

from bazaar_node.commands.inputs import file_bytes
from bazaar_protocol.errors import ConfigError

_BYTES: Final = ("input", "output_schema")


def read_task_file(path: Path) -> dict[str, Any]:
    """Return the fields of the task in the file at ``path``.

    Raises:
        ConfigError: It cannot be read, or is neither TOML nor JSON.

    """
    fields = _parsed(path)
    for name in _BYTES:
        beside = fields.pop(f"{name}_file", None)
        if beside is not None and name in fields:
            raise ConfigError(f"{path}: give {name} or {name}_file, not both")
        if beside is not None:
            fields[name] = file_bytes(path.parent / str(beside))
        elif name in fields:
            value = fields[name]
            fields[name] = value.encode() if isinstance(value, str) else json.dumps(value).encode()
    return fields


def _parsed(path: Path) -> dict[str, Any]:
    raw = file_bytes(path)
    try:
        text = raw.decode()
        fields = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: a task is a table of names and values")
    return fields
