"""What a node says beyond its trades: for whom it answers, and its proof of work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bazaar_node.driver import Driver
from bazaar_node.market.events import Pledged
from bazaar_node.market.turn import Entropy
from bazaar_node.network.stamping import search_stamp
from bazaar_node.pledge_service import StampView, VouchRequest
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, TimedOut
from bazaar_protocol.evidence_kinds import Vouch
from bazaar_protocol.identity import AgentId, parse_agent
from bazaar_protocol.work_wanted import WorkWanted

STAMP_S_MAX: Final = 25.0
"""It takes a second or two; a client waits no longer than thirty."""
_START_BYTES: Final = 8


class PledgeDesk:
    """Says it; see ``pledge_service.Pledges``.

    Args:
        driver: Signs.
        me: Who we are.
        be_ready: Waits until signing is safe.
        entropy: Where to begin to look for a stamp.

    """

    def __init__(
        self,
        driver: Driver,
        me: AgentId,
        be_ready: Callable[[], Awaitable[None]],
        entropy: Entropy,
    ) -> None:
        self._driver = driver
        self._me = me
        self._be_ready = be_ready
        self._entropy = entropy
        self._stamping = asyncio.Lock()

    async def vouch(self, request: VouchRequest) -> None:
        """Answer for an agent, or no longer."""
        agent = parse_agent(request.agent)
        if agent == self._me:
            raise ConfigError("nobody vouches for themselves")
        await self._be_ready()
        await self._driver.ask(Pledged(Vouch(agent, request.is_withdrawn)))

    async def stamp(self) -> StampView:
        """Do a proof of work for this identity, and publish it."""
        await self._be_ready()
        day = self._driver.clock.now_ms() // limits.DAY_MS
        try:
            async with asyncio.timeout(STAMP_S_MAX), self._stamping:
                first = int.from_bytes(self._entropy(_START_BYTES))
                wanted = WorkWanted(limits.STAMP_BITS_MIN, day)
                found = await search_stamp(self._me, wanted, start=first)
        except TimeoutError as error:
            raise TimedOut("no stamp was found in time; chance decides, so try again") from error
        await self._driver.ask(Pledged(found))
        return StampView(bits=limits.STAMP_BITS_MIN, day=day)
