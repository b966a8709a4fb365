"""Finding an agent by the first characters of its did:key, among those whose logs are held."""

import sqlite3
from typing import Final

from bazaar_protocol.errors import NotFound
from bazaar_protocol.identity import AGENT_ID_BYTES, AgentId, to_did

CHARS_MIN: Final = 6
"""Shorter ones would name somebody else tomorrow."""

_PREFIX: Final = "did:key:"
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_KIND: Final = 0xED01
"""What stands before every key, to say that it is an Ed25519 one."""
_SHOWN_MAX: Final = 3


def find_agent(text: str, db: sqlite3.Connection) -> AgentId:
    """Return the one agent whose did:key begins with ``text``, with or without ``did:key:``.

    Raises:
        NotFound: There is none of that name here, or more than one.

    """
    said = text.removeprefix(_PREFIX)
    first, last = _range(said)
    rows = db.execute(
        "SELECT agent FROM author WHERE agent >= ? AND agent <= ? ORDER BY agent LIMIT ?",
        (first, last, _SHOWN_MAX + 1),
    )
    found = [AgentId(agent) for (agent,) in rows]
    # Outside of what keys there can be, the range is the nearest one that can.
    found = [agent for agent in found if to_did(agent).startswith(_PREFIX + said)]
    if not found:
        raise NotFound(f"no agent known here is called {text[:80]!r}; give its whole did:key")
    if len(found) > 1:
        names = ", ".join(to_did(agent) for agent in found[:_SHOWN_MAX])
        raise NotFound(f"several agents begin with {text[:80]!r}: {names}")
    return found[0]


def _range(said: str) -> tuple[bytes, bytes]:
    """Return the least and the greatest key that can be written so.

    All keys of this kind are written with the same number of characters, so in base 58 those with
    one beginning are neighbours.
    """
    known = to_did(AgentId(bytes(AGENT_ID_BYTES))).removeprefix(_PREFIX)
    is_whole = CHARS_MIN <= len(said) <= len(known) and said[0] == known[0]
    if not is_whole or set(said[1:]) - set(_ALPHABET):
        raise NotFound(f"neither an agent nor the beginning of one: {said[:80]!r}")
    value = 0
    for character in said[1:]:
        value = value * len(_ALPHABET) + _ALPHABET.index(character)
    step = len(_ALPHABET) ** (len(known) - len(said))
    return _key(value * step), _key((value + 1) * step - 1)


def _key(value: int) -> bytes:
    """Return the key that is written as a number, or the nearest one that there can be."""
    key = value - (_KIND << 8 * AGENT_ID_BYTES)
    return min(max(key, 0), (1 << 8 * AGENT_ID_BYTES) - 1).to_bytes(AGENT_ID_BYTES)
