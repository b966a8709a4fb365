"""Lists of identities in files: one on each line, and what follows a ``#`` is for people.

A program that changes one leaves all other lines as they are.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId, parse_agent, to_did


@dataclass(frozen=True, slots=True)
class Lists:
    """Who is treated otherwise than everybody."""

    allowed: frozenset[AgentId] = frozenset()
    blocked: frozenset[AgentId] = frozenset()


NO_LISTS: Final = Lists()


def read_list(path: Path) -> frozenset[AgentId]:
    """Return the identities in a file; none if there is no such file.

    Raises:
        ConfigError: It cannot be read, or a line of it holds something else.

    """
    agents: set[AgentId] = set()
    for number, line in enumerate(_lines(path), 1):
        try:
            agent = _agent(line)
        except ConfigError as error:
            raise ConfigError(
                f"{path}: line {number}: {error}; a line is a did:key, a peer id, or a # comment"
            ) from error
        if agent is not None:
            agents.add(agent)
    return frozenset(agents)


def add_to_list(path: Path, agent: AgentId) -> bool:
    """Add an identity to a file, which is made if need be; tell whether it was not there yet.

    Raises:
        ConfigError: It cannot be read or written.

    """
    if agent in read_list(path):
        return False
    _write(path, [*_lines(path), to_did(agent)])
    return True


def remove_from_list(path: Path, agent: AgentId) -> bool:
    """Take an identity out of a file; tell whether it was there.

    Raises:
        ConfigError: It cannot be read or written.

    """
    if agent not in read_list(path):
        return False
    _write(path, [line for line in _lines(path) if _agent(line) != agent])
    return True


def _agent(line: str) -> AgentId | None:
    text = line.partition("#")[0].strip()
    return parse_agent(text) if text else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: it is not UTF-8 text") from error


def _write(path: Path, lines: list[str]) -> None:
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
