"""What people give to commands: durations, files, text, standard input."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token

from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, TooLarge

_MS_PER_S = 1000


def _milliseconds(_type: Any, tokens: Sequence[Token]) -> int:
    # Imported here: the rest of its module is of no use to a command that answers at once.
    from bazaar_host.settings import parse_duration

    try:
        return round(parse_duration(tokens[0].value) * _MS_PER_S)
    except ConfigError as error:
        raise ValueError(str(error)) from error


Duration: TypeAlias = Annotated[
    int | None, Parameter(converter=_milliseconds, n_tokens=1, metavar="TIME")
]
"""Milliseconds, written like ``500ms``, ``30s`` or ``2h``."""


def given_bytes(said: str) -> bytes:
    """Return what an option says: its text, the file after an ``@``, or standard input for ``-``.

    Raises:
        ConfigError: The file cannot be read.
        TooLarge: It is more than the node takes.

    """
    if said == "-":
        return _bounded(sys.stdin.buffer.read(limits.API_BODY_BYTES_MAX + 1), "standard input")
    if said.startswith("@"):
        return file_bytes(Path(said[1:]))
    return said.encode("utf-8", "surrogateescape")


def file_bytes(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        ConfigError: It cannot be read.
        TooLarge: It is more than the node takes.

    """
    try:
        with path.open("rb") as file:
            return _bounded(file.read(limits.API_BODY_BYTES_MAX + 1), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error


def guessed_type(data: bytes) -> str:
    """Return the media type that ``data`` seems to have."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "text/plain"
    return "application/json"


def _bounded(data: bytes, where: str) -> bytes:
    if len(data) > limits.API_BODY_BYTES_MAX:
        raise TooLarge(f"{where} has more than {limits.API_BODY_BYTES_MAX} bytes")
    return data
