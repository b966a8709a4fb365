"""Relays that are each other's peers, as processes: trades across them, kills, and partitions."""

import asyncio
import signal
from pathlib import Path

import pytest
from tests.federated import trader
from tests.market_records import Trader
from tests.town import TERMINAL, Site, Town, raw_client, town, until

from bazaar_protocol import frames
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId, parse_agent, to_did
from bazaar_protocol.records import Record
from bazaar_relay.homes import Home, Running, find_running
from bazaar_relay.peering.peer_state import PeerState

pytestmark = pytest.mark.xdist_group("heavy")


async def relays(it: Town, *names: str) -> dict[str, Site]:
    """Start relays, each of which follows all others; they are told when all are up."""
    sites = {name: await it.relay(name) for name in names}
    for name, site in sites.items():
        others = [sites[one].running.address for one in names if one != name]
        follow(site, others)
    await asyncio.gather(*(are_live(site, len(names) - 1) for site in sites.values()))
    return sites


def follow(site: Site, addresses: list[str]) -> None:
    """Have a running relay follow the peers at ``addresses`` from now on."""
    lines = ", ".join(f'"{address}"' for address in addresses)
    (site.home / "bazaar.toml").write_text(f"[relay]\npeers = [{lines}]\n")
    site.send(signal.SIGHUP)


def peers_of(site: Site) -> tuple[PeerState, ...]:
    found: Running = find_running(Home(site.home))
    return found.peers


def agent_of(relay: Site) -> AgentId:
    return parse_agent(relay.running.address.rpartition("/")[2])


async def are_live(site: Site, count: int) -> None:
    await until(
        lambda: [peer.stage for peer in peers_of(site)], lambda seen: seen == ["live"] * count
    )


async def test_nodes_of_different_relays_trade_and_survive_a_relays_end(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        sites = await relays(it, "one", "two", "three")
        it.address = sites["one"].running.address
        ada = await it.node("ada", is_up=False)
        it.address = sites["two"].running.address
        bo = await it.node("bo", "--offer", "word.find", "--exec", "echo 1", is_up=False)
        await ada.up()
        await bo.up()
        auction = await ada.post("word.find", bid_window_ms=400)
        assert (await ada.reached(auction.id, *TERMINAL)).task.state == "accepted"
        claim = await ada.post("word.find", mode="claim", sequencer="relay", price=5)
        done = await ada.reached(claim.id, *TERMINAL)
        assert done.task.state == "accepted"
        it.address = sites["three"].running.address
        awards = [one for one in await it.relay_task(claim.id) if one.kind == "award"]
        assert [one.author for one in awards] == [agent_of(sites["one"])]  # not one of the worker's
        await sites["three"].crash()
        direct = await ada.post("word.find", mode="direct", worker=await bo.agent(), price=5)
        assert (await ada.reached(direct.id, *TERMINAL)).task.state == "accepted"


async def exchange(site: Site, author: Trader, *records: Record) -> tuple[str, ...]:
    async with raw_client(site.running.address, f"client {author.agent.hex()[:8]}") as client:
        statuses: tuple[str, ...] = ()
        for first in range(0, len(records), 100):
            statuses += await client.publish(*records[first : first + 100])
        return statuses


async def wait_for(site: Site, *records: Record) -> None:
    """Wait until a relay has records, the newest of their logs."""
    async with raw_client(site.running.address, "reader") as client:
        for record in records:
            async with asyncio.timeout(20):
                while True:
                    answer = await client.ask(frames.GetHead, record.author)
                    if record.raw in answer.records:
                        break
                    await asyncio.sleep(0.05)


async def test_relays_catch_up_after_kills_and_expose_who_told_them_different_things(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as it:
        sites = await relays(it, "one", "two", "three")
        ada, eve = trader("ada"), trader("eve")
        log = [ada.genesis(), *(ada.intake(number) for number in range(300))]
        await exchange(sites["one"], ada, *log)
        start = [eve.genesis(), eve.intake()]
        await exchange(sites["one"], eve, *start)
        for site in sites.values():
            await wait_for(site, log[-1], start[-1])
        await sites["two"].crash()
        await sites["three"].crash()
        fork = Trader(eve.keys, eve.now_ms, eve.head)
        more = [*(ada.intake(number) for number in range(50)), eve.intake(1)]
        assert set(await exchange(sites["one"], ada, *more)) == {"accepted"}
        await sites["one"].crash()
        await sites["two"].up()
        forked = [fork.intake(2), fork.intake(3)]
        assert await exchange(sites["two"], fork, *forked) == ("accepted",) * 2
        await sites["one"].up()
        await sites["three"].up()
        for site in sites.values():
            await wait_for(site, more[-2])
            async with raw_client(site.running.address, "reader") as client:
                await client.subscribe(Filter(kinds=("proof",)))
                proof = await client.event()
                assert proof.record
                (status,) = await client.publish(eve.post())
                assert status.startswith("blocked: convicted by equivocation")


async def test_a_relay_says_how_things_stand_with_its_peers(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        sites = await relays(it, "one", "two")
        await sites["two"].crash()
        (seen,) = await until(
            lambda: peers_of(sites["one"]), lambda states: states[0].stage == "connecting"
        )
        assert seen.trouble
        assert seen.agent == to_did(agent_of(sites["two"]))
        follow(sites["one"], [])
        await until(lambda: peers_of(sites["one"]), lambda states: states == ())
