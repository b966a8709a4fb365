"""Where agents were heard last: at this relay or at one of its peers. It is soft: a hint for mail.

Whoever spoke last is believed. An agent that listens here now is here, whatever others say.
"""

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_relay.machine.bounded import Bounded


class Whereabouts:
    """The relay at which each agent was heard last."""

    def __init__(self, me: AgentId) -> None:
        self._me = me
        self._places: Bounded[AgentId, AgentId] = Bounded(limits.WHEREABOUTS_MAX)

    def here(self, agent: AgentId) -> bool:
        """Take note that ``agent`` listens here; tell whether that is news."""
        is_news = self._places.get(agent) != self._me
        self._places.put(agent, self._me)
        return is_news

    def there(self, agent: AgentId, peer: AgentId) -> None:
        """Take note that a peer says ``agent`` listens at its place."""
        self._places.put(agent, peer)

    def peer_of(self, agent: AgentId) -> AgentId | None:
        """Return the peer to which letters for ``agent`` go; None if it is here, or nowhere."""
        place = self._places.get(agent)
        return None if place == self._me else place

    def is_here(self, agent: AgentId) -> bool:
        """Tell whether ``agent`` was heard here last."""
        return self._places.get(agent) == self._me

    def all_here(self) -> list[AgentId]:
        """Return all agents that were heard here last."""
        return [agent for agent, place in self._places.items() if place == self._me]
