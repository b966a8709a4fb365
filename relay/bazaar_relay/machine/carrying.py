"""How much a relay carries between nodes on relayed links, and how fast.

Nothing is thrown away to slow somebody down. What was carried has to be paid for by time that
passes, and until it is paid for the credit for more is held back: so a node that opens many links,
or all nodes together, go as fast as the operator allows and no faster.
"""

from dataclasses import dataclass
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_relay.machine.bounded import Bounded
from bazaar_relay.machine.buckets import Buckets, Rate

_US_PER_MS: Final = 1000
_US_PER_S: Final = 1_000_000
_DEBT_MS_MAX: Final = 10 * limits.SECOND_MS
"""Who has so much to pay for opens no more links."""


@dataclass(frozen=True)
class LinkPolicy:
    """What the operator decides about relayed links. Who opens one pays for both directions."""

    links: int = 8
    """For each identity, whoever opened them; 0 carries none at all."""
    links_all: int = 256
    bytes_per_s: int = 4 * limits.MIB
    """For each identity, on all links that it opened."""
    bytes_per_s_all: int = 32 * limits.MIB
    bytes_per_day: int = 0
    """For each identity; 0 for any amount."""
    minutes: int = 60
    """After which a link ends, whatever goes on on it."""


class Carrying:
    """Who has carried how much."""

    def __init__(self) -> None:
        self._paid_us: Bounded[AgentId, int] = Bounded(limits.AGENTS_COUNTED_MAX)
        self._all_paid_us = 0
        self._days: Buckets[AgentId] = Buckets()
        self._opens: Buckets[AgentId] = Buckets()
        self._offers: Buckets[AgentId] = Buckets()
        self.bytes = 0
        """Carried since the start."""

    def paid_ms(self, agent: AgentId) -> int:
        """Return when all is paid for that an agent, and all together, had carried; to the ms."""
        paid_us = max(self._all_paid_us, self._paid_us.get(agent) or 0)
        return paid_us // _US_PER_MS

    def carry(self, agent: AgentId, size: int, policy: LinkPolicy, now_ms: int) -> str:
        """Count so many bytes; return why no more is carried, if so."""
        now_us = now_ms * _US_PER_MS
        own_us = max(now_us, self._paid_us.get(agent) or 0)
        self._paid_us.put(agent, own_us + size * _US_PER_S // policy.bytes_per_s)
        all_us = max(now_us, self._all_paid_us)
        self._all_paid_us = all_us + size * _US_PER_S // policy.bytes_per_s_all
        self.bytes += size
        if policy.bytes_per_day:
            rate = Rate(policy.bytes_per_day, limits.DAY_MS)
            if not self._days.has_left(agent, rate, now_ms):
                return f"at most {policy.bytes_per_day} bytes a day are carried for one agent"
            self._days.spend(agent, rate, size, now_ms)
        return ""

    def open_refusal(self, agent: AgentId, now_ms: int) -> str:
        """Count that an agent wants a link; return why it gets none, if so."""
        opens = Rate(limits.RELAYED_OPENS_PER_MINUTE_MAX, limits.MINUTE_MS)
        if not self._opens.has_left(agent, opens, now_ms):
            return f"at most {opens.amount} links a minute"
        self._opens.spend(agent, opens, 1, now_ms)
        if self.paid_ms(agent) > now_ms + _DEBT_MS_MAX:
            return "too much is being carried already"
        return ""

    def offer_refusal(self, agent: AgentId, now_ms: int) -> str:
        """Count that a stranger is offered to an agent; return why it is not, if so."""
        offers = Rate(limits.RELAYED_OFFERS_PER_MINUTE_MAX, limits.MINUTE_MS)
        if not self._offers.has_left(agent, offers, now_ms):
            return "too many want a link to this agent"
        self._offers.spend(agent, offers, 1, now_ms)
        return ""
