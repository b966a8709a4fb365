"""Many subscribers come and go while records are published: each gets each record exactly once."""

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.market_records import Trader
from tests.relay_client import Client

from bazaar_host import clock
from bazaar_host.links import RELAY_PROTOCOL, Transport
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol import frames
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import Keypair
from bazaar_relay.serving.service import RelayService
from bazaar_relay.storage import overlay
from bazaar_relay.storage.sqlite_store import SqliteStore

RELAY = Keypair.from_name("relay")
PUBLISHERS, SUBSCRIBERS, BATCHES, BATCH = 4, 12, 25, 8
KINDS = ("genesis", "intake")
TOTAL = 1 + PUBLISHERS * (1 + BATCHES * BATCH)  # with the genesis of the relay itself


async def publish(transport: Transport, addresses: list[str], author: Trader) -> None:
    client = Client(await transport.dial(None, addresses, RELAY_PROTOCOL))
    await client.hello()
    assert await client.publish(author.genesis()) == ("accepted",)
    for _ in range(BATCHES):
        batch = [author.intake(number) for number in range(BATCH)]
        assert await client.publish(*batch) == ("accepted",) * BATCH


async def listen(
    transport: Transport, addresses: list[str], rng: random.Random
) -> list[frames.Event]:
    """Take events until all are there, on links that end after a few of them."""
    heard: list[frames.Event] = []
    while len(heard) < TOTAL:
        client = Client(await transport.dial(None, addresses, RELAY_PROTOCOL))
        await client.hello()
        cursor = heard[-1].cursor if heard else 0
        await client.send(frames.Subscribe(1, (Filter(kinds=KINDS),), cursor))
        wanted = min(len(heard) + rng.randint(1, 120), TOTAL)
        while len(heard) < wanted:
            heard.append(await client.event())
        client.link.close()
    return heard


@pytest.mark.parametrize("seed", range(3))
async def test_each_subscriber_gets_each_record_once_and_in_order(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "_RECORDS_MAX", 100)  # so that merges run meanwhile
    network = MemoryNetwork()
    authors = [Trader.named(f"author {number}", clock.now_ms()) for number in range(PUBLISHERS)]

    async def dialer(keys: Keypair) -> Transport:
        opened = network.open(keys, [], [RELAY_PROTOCOL], lambda _: None)
        return await stack.enter_async_context(opened)

    async with (
        SqliteStore.open(tmp_path / "relay.db", name=bytes(32), synchronous="OFF") as store,
        RelayService.open(RELAY, store) as service,
        network.open(RELAY, ["/memory/r"], [RELAY_PROTOCOL], service.on_link) as relay,
        AsyncExitStack() as stack,
    ):
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            listeners: list[asyncio.Task[list[frames.Event]]] = []
            for number in range(SUBSCRIBERS):
                keys = Keypair.from_name(f"listener {number}")
                opened = await dialer(keys)
                rng = random.Random(seed * SUBSCRIBERS + number)
                listeners.append(tasks.create_task(listen(opened, relay.addresses, rng)))
            for author in authors:
                opened = await dialer(author.keys)
                tasks.create_task(publish(opened, relay.addresses, author))
        kept, _ = await store.scan([Filter(kinds=KINDS)], after=0, limit=2 * TOTAL)
        everything = [(one.cursor, one.raw) for one in kept]
        assert len({raw for _, raw in everything}) == len(everything) == TOTAL
        for listener in listeners:
            assert [(one.cursor, one.record) for one in listener.result()] == everything
