"""Links through a relay, between two nodes that can only dial out; the relay may be a bad one."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from tests.links import receive
from tests.relayed import Dialer, RelayPlace, two_dialers

from bazaar_host.links import Link
from bazaar_node.network.relayed.exchange import LinkExchange, LinkNews
from bazaar_node.network.relayed.link import RelayedLink
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, MalformedRecord, Refused
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.carrying import LinkPolicy

FAST = Policy(carrying=LinkPolicy(bytes_per_s=limits.MIB * 1024, bytes_per_s_all=limits.MIB * 1024))
BODY = bytes(60_000)
HELD_BYTES_MAX = (
    limits.LINK_SEND_QUEUE_BYTES_MAX + limits.LINK_RECEIVE_QUEUE_BYTES_MAX
    + limits.RELAYED_WINDOW_BYTES + 3 * len(BODY)
)  # fmt: skip


async def test_both_ends_know_who_is_at_the_other() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        ours, theirs = await ada.pair(bo)
        assert (ours.peer, ours.inbound, theirs.peer, theirs.inbound) == (
            bo.agent, False, ada.agent, True,
        )  # fmt: skip
        assert ours.protocol == theirs.protocol == frames.NODE_PROTOCOL


async def test_frames_arrive_whole_and_in_order_both_ways_at_once() -> None:
    bodies = [os.urandom(size) for size in (1, 100, 65_000, 70_000, 131_072, 0, 5)] * 6
    async with two_dialers(RelayPlace(policy=FAST)) as (ada, bo):
        ours, theirs = await ada.pair(bo)

        async def send(link: Link) -> None:
            for body in bodies:
                await link.send(pack(body))

        got = await asyncio.gather(
            receive(theirs, len(bodies)), receive(ours, len(bodies)), send(ours), send(theirs)
        )
        assert got[0] == got[1] == bodies


async def test_what_was_queued_arrives_before_the_end() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        ours, theirs = await ada.pair(bo)
        await ours.send(pack(b"last words"))
        ours.close()
        assert await receive(theirs, 1) == [b"last words"]
        with pytest.raises(LinkClosed, match="the other end has closed the link"):
            await theirs.receive()
        await asyncio.wait_for(asyncio.gather(ours.wait_closed(), theirs.wait_closed()), 5)
        for link in (ours, theirs):
            with pytest.raises(LinkClosed):
                link.offer(pack(b"too late"))


async def test_a_peer_that_never_reads_costs_a_bounded_amount() -> None:
    place = RelayPlace(policy=FAST)
    async with two_dialers(place) as (ada, bo):
        ours, theirs = await ada.pair(bo)
        sent = 0
        while True:
            try:
                await asyncio.wait_for(ours.send(pack(BODY)), 0.3)
            except TimeoutError:
                break
            sent += len(BODY)
            assert sent <= HELD_BYTES_MAX, "nothing holds the sender back"
        # And nobody else: another link between the same two goes on.
        second, other = await ada.pair(bo)
        await second.send(pack(b"through"))
        assert await receive(other, 1) == [b"through"]
        assert len(await receive(theirs, sent // len(BODY))) == sent // len(BODY)


@dataclass
class Mischief:
    """Does something to the data for one of the two, from the handshake's end on."""

    what: str
    victim: AgentId
    held: list[frames.LinkData] = field(default_factory=list)
    is_on: bool = False

    def __call__(self, to: AgentId, frame: frames.FromRelay) -> Sequence[frames.FromRelay]:
        if not (self.is_on and to == self.victim and isinstance(frame, frames.LinkData)):
            return (frame,)
        self.held.append(frame)
        match self.what:
            case "change":
                changed = bytes([frame.data[0] ^ 1]) + frame.data[1:]
                return (frames.LinkData(frame.link, changed),)
            case "shorten":
                return (frames.LinkData(frame.link, frame.data[:-1]),)
            case "repeat":
                return (frame, frame)
            case "leave out":
                return () if len(self.held) == 2 else (frame,)
            case "swap":
                return () if len(self.held) == 1 else (self.held[1], self.held[0])
            case "invent":
                return (frames.LinkData(frame.link, os.urandom(len(frame.data))),)
            case "cut":
                return (frames.CloseLink(frame.link, "done"),)
            case _:
                raise AssertionError(self.what)


@pytest.mark.parametrize(
    "what", ["change", "shorten", "repeat", "leave out", "swap", "invent", "cut"]
)
async def test_whatever_a_relay_does_to_data_no_wrong_frame_arrives(what: str) -> None:
    place = RelayPlace()
    async with two_dialers(place) as (ada, bo):
        ours, theirs = await ada.pair(bo)
        mischief = Mischief(what, bo.agent)
        place.change, mischief.is_on = mischief, True
        sent = [str(number).encode() * 500 for number in range(4)]
        for body in sent:
            ours.offer(pack(body))
        ours.close()
        arrived: list[bytes] = []
        with pytest.raises(LinkClosed) as ended:
            await asyncio.wait_for(receive_all(theirs, arrived), 5)
        assert arrived == sent[: len(arrived)]
        assert len(arrived) < len(sent)
        assert "the other end has closed" not in str(ended.value)


async def receive_all(link: Link, arrived: list[bytes]) -> None:
    while True:
        arrived += await link.receive()


async def test_a_link_cannot_be_spliced_onto_another() -> None:
    place = RelayPlace()
    async with two_dialers(place) as (ada, bo):
        first, _ = await ada.pair(bo)
        second, theirs = await ada.pair(bo)
        assert isinstance(theirs, RelayedLink)
        number = theirs._carrier.number

        def splice(to: AgentId, frame: frames.FromRelay) -> Sequence[frames.FromRelay]:
            if to == bo.agent and isinstance(frame, frames.LinkData):
                return (frames.LinkData(number, frame.data),)
            return (frame,)

        place.change = splice
        await first.send(pack(b"for the first link"))
        with pytest.raises(LinkClosed, match="changed, left out, repeated or moved"):
            await asyncio.wait_for(theirs.receive(), 5)
        second.close()


async def test_a_relay_cannot_put_somebody_else_at_the_other_end() -> None:
    place = RelayPlace()
    mallory = Keypair.from_name("mallory").agent

    def lie(to: AgentId, frame: frames.FromRelay) -> Sequence[frames.FromRelay]:
        if isinstance(frame, frames.LinkOffered):
            return (frames.LinkOffered(frame.link, mallory),)
        return (frame,)

    place.change = lie
    async with two_dialers(place) as (ada, bo):
        with pytest.raises(LinkClosed):
            await asyncio.wait_for(ada.links.open(bo.agent), 5)
        assert bo.inbound.empty()


async def test_a_relay_that_sends_more_than_there_is_credit_for_loses_its_session() -> None:
    place = RelayPlace()

    def flood(to: AgentId, frame: frames.FromRelay) -> Sequence[frames.FromRelay]:
        return (frame,) * 500 if isinstance(frame, frames.LinkData) and to == bo.agent else (frame,)

    async with two_dialers(place) as (ada, bo):
        ours, theirs = await ada.pair(bo)
        place.change = flood
        await ours.send(pack(BODY[:2000]))
        await asyncio.wait_for(bo.disconnected.wait(), 5)
        assert bo.session.malformed_count == 1
        await asyncio.wait_for(asyncio.gather(ours.wait_closed(), theirs.wait_closed()), 5)


async def test_whom_we_have_no_dealings_with_gets_no_link() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        bo.unwanted.add(ada.agent)
        with pytest.raises(Refused, match="not wanted here"):
            await ada.links.open(bo.agent)
        assert bo.inbound.empty()


async def test_one_peer_gets_so_many_links_and_no_more() -> None:
    async with two_dialers(RelayPlace(policy=Policy(carrying=LinkPolicy(links=32)))) as (ada, bo):
        links = [await ada.pair(bo) for _ in range(limits.LINKS_SERVED_PER_PEER_MAX)]
        with pytest.raises(Refused):
            await ada.links.open(bo.agent)
        links[0][0].close()
        await asyncio.wait_for(links[0][1].wait_closed(), 5)
        ours, theirs = await ada.pair(bo)
        assert (ours.peer, theirs.peer) == (bo.agent, ada.agent)


async def test_an_opener_that_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RELAYED_HANDSHAKE_S", 0.1)

    def gag(to: AgentId, frame: frames.FromRelay) -> Sequence[frames.FromRelay]:
        return () if isinstance(frame, frames.LinkData) else (frame,)

    async with two_dialers(RelayPlace(gag)) as (ada, bo):
        with pytest.raises(LinkClosed, match="no handshake came in time"):
            await ada.links.open(bo.agent)
        await settled(bo)


async def settled(dialer: Dialer) -> None:
    """Wait until nothing is left of any link."""
    async with asyncio.timeout(5):
        while dialer.links._tasks:
            await asyncio.wait(set(dialer.links._tasks))
    assert (dialer.links._carriers, dialer.links._inbound) == ({}, {})


async def test_a_flood_of_offers_is_bounded() -> None:
    said: list[object] = []
    release = asyncio.Event()

    class Slow:
        """A session with a relay that takes nothing."""

        is_connected = True

        async def open_link(self, peer: AgentId) -> int:
            raise AssertionError(peer)

        async def tell(self, frame: object) -> None:
            await release.wait()
            said.append(frame)

    links = LinkExchange(Slow(), Keypair.from_name("bo"), entropy=os.urandom)
    for has_dealings in (False, True):
        links.has_dealings = bool if has_dealings else list[AgentId]().__contains__
        for number in range(1, 5_000):
            peer = Keypair.from_name(f"sybil {number % 100}").agent
            links.take(frames.LinkOffered(number + 10_000 * has_dealings, peer))
    assert len(links._tasks) <= 3 * limits.LINKS_SERVED_MAX + 1
    assert len(links._inbound) <= limits.LINKS_SERVED_MAX
    links.lost()
    release.set()
    while links._tasks:
        await asyncio.wait(set(links._tasks))
    assert links._inbound == {}


@pytest.mark.parametrize(
    "news",
    [
        [frames.LinkData(7, b"x"), frames.LinkCredit(7, 1), frames.CloseLink(7, "")],
        [frames.LinkOpened(1, 7), frames.CloseLink(7, "relay: so"), frames.LinkData(7, b"x")],
    ],
)
async def test_news_of_links_that_are_over_are_ignored(news: list[LinkNews]) -> None:
    async with two_dialers(RelayPlace()) as (ada, _):
        for one in news:
            ada.links.take(one)
        assert ada.links._carriers == {}


async def test_a_relay_cannot_give_one_number_twice() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        ours, _ = await ada.pair(bo)
        assert isinstance(ours, RelayedLink)
        number = ours._carrier.number
        for news in (frames.LinkOpened(1, number), frames.LinkOffered(number, bo.agent)):
            with pytest.raises(MalformedRecord):
                ada.links.take(news)


async def test_links_end_when_the_relay_is_gone() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        ours, theirs = await ada.pair(bo)
        ada.session.drop(LinkClosed("for a test"))
        for link in (ours, theirs):
            with pytest.raises(LinkClosed):
                await asyncio.wait_for(link.receive(), 5)
        await settled(ada)
        await settled(bo)


async def test_a_dial_that_is_given_up_leaves_nothing() -> None:
    async with two_dialers(RelayPlace()) as (ada, bo):
        for turns in range(12):  # at whatever place it is
            dial = asyncio.create_task(ada.links.open(bo.agent))
            for _ in range(turns):
                await asyncio.sleep(0)
            dial.cancel()
            await asyncio.gather(dial, return_exceptions=True)
        await asyncio.sleep(0)
        await ada.session.ping()  # so every answer has come
        await settled(ada)
        await settled(bo)
        while not bo.inbound.empty():
            await asyncio.wait_for(bo.inbound.get_nowait().wait_closed(), 5)
        ours, theirs = await ada.pair(bo)
        await ours.send(pack(b"through"))
        assert await receive(theirs, 1) == [b"through"]
