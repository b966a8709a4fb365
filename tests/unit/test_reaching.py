"""Ways to another node: directly, through a relay, through another; whichever comes up."""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import pytest
from tests.links import receive
from tests.relayed import Dialer, RelayPlace, two_dialers

from bazaar_host.links import Link, Transport
from bazaar_node.network.reaching import Reaching, _first
from bazaar_node.network.relayed.link import RelayedLink
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import RemoteError, Unreachable
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId


class Roads:
    """A direct way that does what a test says."""

    def __init__(self, go: Callable[[], Link | RemoteError | None]) -> None:
        self.addresses: list[str] = []
        self.asked = 0
        self._go = go

    async def dial(self, peer: AgentId | None, addresses: Sequence[str], protocol: str) -> Link:
        del peer, addresses, protocol
        self.asked += 1
        match self._go():
            case None:
                await asyncio.Event().wait()
                raise AssertionError
            case RemoteError() as error:
                raise error
            case link:
                return link

    async def close(self) -> None:
        pass


def reaching(roads: Roads, dialer: Dialer) -> Reaching:
    return Reaching(cast("Transport", roads), lambda: [("the relay", dialer.links)])


async def test_a_peer_that_answers_directly_is_not_asked_through_a_relay() -> None:
    place = RelayPlace()
    async with two_dialers(place) as (ada, bo):
        direct, _ = await ada.pair(bo)  # any link will do
        await bo.links._session.tell(frames.CloseLink(99, ""))
        roads = Roads(lambda: direct)
        assert await reaching(roads, ada).dial(bo.agent, [], frames.NODE_PROTOCOL) is direct
        assert bo.inbound.empty()


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_relay_helps_where_the_direct_way_leads_nowhere(
    *, hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAYED_HEAD_START_S", 0.05)
    async with two_dialers(RelayPlace()) as (ada, bo):
        roads = Roads(lambda: None if hangs else Unreachable("no addresses were given"))
        link = await reaching(roads, ada).dial(bo.agent, [], frames.NODE_PROTOCOL)
        assert isinstance(link, RelayedLink)
        assert roads.asked == 1
        link.close()


async def test_of_two_ways_that_come_up_at_once_one_is_closed() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        (first, _), (second, _) = await ada.pair(bo), await ada.pair(bo)
        both = asyncio.Event()

        async def dial(link: Link) -> Link:
            await both.wait()
            return link

        reached = asyncio.create_task(_first([dial(first), dial(second)], head_start_s=0))
        for _ in range(5):  # so both are on their way
            await asyncio.sleep(0)
        both.set()
        assert await reached is first
        await asyncio.wait_for(second.wait_closed(), 5)
        assert first.offer(pack(b"still open"))


async def test_a_relay_that_carries_nothing_does_not_hold_up_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RELAYED_HEAD_START_S", 0.05)

    def gag(to: AgentId, frame: frames.FromRelay) -> Sequence[frames.FromRelay]:
        return () if isinstance(frame, frames.LinkData | frames.LinkOpened) else (frame,)

    bad, good = RelayPlace(gag), RelayPlace()
    async with two_dialers(bad) as (ada, _), two_dialers(good) as (other_ada, bo):
        relays = [("bad", ada.links), ("worse", ada.links), ("good", other_ada.links)]
        roads = Roads(lambda: Unreachable("no addresses were given"))
        way = Reaching(cast("Transport", roads), lambda: relays)
        dial = way.dial(bo.agent, [], frames.NODE_PROTOCOL)
        ours = await asyncio.wait_for(dial, 5)
        theirs = await asyncio.wait_for(bo.inbound.get(), 5)
        await ours.send(pack(b"through"))
        assert await receive(theirs, 1) == [b"through"]


async def test_when_no_way_leads_there_each_says_why() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        bo.unwanted.add(ada.agent)
        roads = Roads(lambda: Unreachable("/ip4/192.0.2.1/tcp/1: no route"))
        with pytest.raises(Unreachable, match=r"no route; through the relay: refused: not wanted"):
            await reaching(roads, ada).dial(bo.agent, [], frames.NODE_PROTOCOL)
        alone = Reaching(cast("Transport", roads), list)
        with pytest.raises(Unreachable, match="no relay that we are connected to carries links"):
            await alone.dial(bo.agent, [], frames.NODE_PROTOCOL)


async def test_a_relay_is_never_dialed_through_a_relay() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        roads = Roads(lambda: Unreachable("no route"))
        with pytest.raises(Unreachable, match="no route"):
            await reaching(roads, ada).dial(bo.agent, [], frames.RELAY_PROTOCOL)
