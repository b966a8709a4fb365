"""Who is who in the demo: the actors on the stage, and the names that their keys stand for."""

from dataclasses import dataclass, field
from typing import Final

from bazaar_node.api.client import Client
from bazaar_node.demo.stage import Actor
from bazaar_protocol.errors import LocalError
from bazaar_protocol.identity import parse_agent

_HEX_CHARS: Final = 12
"""How many digits of a key errors show."""


@dataclass(slots=True)
class Cast:
    """The nodes of the demo by their names, and the relay's address."""

    actors: dict[str, Actor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """The actors' names by what they sign with."""
    relay: str = ""

    def client(self, name: str) -> Client:
        """Return a client of a node, over its own socket."""
        return self.actors[name].client

    def name(self, agent: str | None) -> str:
        """Return who signs as ``agent``."""
        return self.names.get(agent or "", "nobody")

    def agent(self, name: str) -> str:
        """Return what somebody signs with."""
        return next(agent for agent, known in self.names.items() if known == name)

    def named(self, text: str) -> str:
        """Put names where a command writes keys, or an error their first digits."""
        for agent, name in self.names.items():
            text = text.replace(agent, name).replace(parse_agent(agent).hex()[:_HEX_CHARS], name)
        return text.replace(self.relay, "r0")


def expect(is_so: object, what: str) -> None:
    """Stop the story when something else happened than it tells.

    Raises:
        LocalError: It did.

    """
    if not is_so:
        raise LocalError(f"expected {what}")
