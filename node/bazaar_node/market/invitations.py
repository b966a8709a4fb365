"""Invitations to auctions: whom a poster asks for a bid by name, and whose asking a worker heeds.

A relay offers a task to whom it finds first. So a poster also writes to some of those of whom it
holds most; to some at random, so that there is no place at the top that only a few can reach. When
nobody good enough bids, it asks all others that it holds enough of, a few at a time; and where it
knows too few, those for whom somebody answers.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Final

from bazaar_node.market.opinions import About, Opinions
from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId

TOP: Final = 12
INVITED_MAX: Final = 5
INVITED_FROM_POINTS: Final = 4_000
EVERYBODY: Final = 1_024
"""So many at most are looked at when more are asked than the best."""
VOUCHED_MAX: Final = 64

_DRAW_BYTES: Final = 8


def guests(
    opinions: Opinions,
    capability: str,
    entropy: Callable[[int], bytes],
    *,
    asked: Collection[AgentId] = (),
    among: int = TOP,
) -> Sequence[AgentId]:
    """Return whom to invite to an auction for ``capability``.

    Args:
        opinions: What we hold of others.
        capability: For what.
        entropy: Draws who is asked.
        asked: Who has been asked, or has bid.
        among: Of so many of the best.

    """
    invited: list[AgentId] = []
    best = (About(agent, capability=capability) for agent in opinions.best(among, capability))
    good = [about.agent for about in best if _is_good(opinions, about)]
    for choice in (good, opinions.vouched(VOUCHED_MAX)):
        left = [agent for agent in choice if agent not in asked]
        while left and len(invited) < INVITED_MAX:
            invited.append(left.pop(int.from_bytes(entropy(_DRAW_BYTES)) % len(left)))
    return invited


def _is_good(opinions: Opinions, about: About) -> bool:
    standing = opinions.standing(about)
    return standing.points > INVITED_FROM_POINTS and not standing.is_convicted


class Doorman:
    """Counts invitations, since anybody can write them, and each makes us ask the relays.

    Those who are known as posters have an allowance each; all others share one.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[AgentId | None, int] = OrderedDict()
        self._since_ms = 0

    def admits(self, sender: AgentId, now_ms: int, *, is_known: bool) -> bool:
        """Tell whether to look at one more invitation by ``sender``."""
        if not 0 <= now_ms - self._since_ms < limits.MINUTE_MS:
            self._counts.clear()
            self._since_ms = now_ms
        guest = sender if is_known else None
        count = self._counts.get(guest, 0)
        if count >= limits.INVITATIONS_PER_MINUTE_MAX:
            return False
        self._counts[guest] = count + 1
        while len(self._counts) > limits.INVITERS_COUNTED_MAX:
            self._counts.popitem(last=False)
        return True
