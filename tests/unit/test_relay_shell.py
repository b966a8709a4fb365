"""The relay's shell in the moments that only chance would bring about: turns, and going live."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.market_records import NOW_MS, Trader
from tests.relay_client import Client

from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol import frames, limits
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import Keypair
from bazaar_protocol.records import Record
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.difficulty import WorkPolicy
from bazaar_relay.machine.events import ConnectionId, Event, Received, Replay
from bazaar_relay.serving.connection import Connection
from bazaar_relay.serving.fanout import Feed, News
from bazaar_relay.serving.intake import Intake
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.serving.turns import Turns
from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_relay.storage.store import Batch, NewRecord, Stored


class GatedStore(MemoryStore):
    """A store whose scans have their answer, and give it when the gate is open."""

    def __init__(self) -> None:
        super().__init__(bytes(32))
        self.scans = 0
        self.has_scanned = asyncio.Event()
        self.gate = asyncio.Event()

    async def scan(
        self, filters: Sequence[Filter], *, after: int, limit: int
    ) -> tuple[list[Stored], int]:
        self.scans += 1
        found = await super().scan(filters, after=after, limit=limit)
        self.has_scanned.set()
        await self.gate.wait()
        return found


@asynccontextmanager
async def link_pair(name: str = "ada") -> AsyncGenerator[tuple[Link, Link]]:
    network = MemoryNetwork()
    theirs: asyncio.Queue[Link] = asyncio.Queue()
    relay, node = Keypair.from_name("relay"), Keypair.from_name(name)
    async with (
        network.open(relay, ["/memory/r"], [RELAY_PROTOCOL], theirs.put_nowait) as listening,
        network.open(node, [], [RELAY_PROTOCOL], lambda _: None) as dialing,
    ):
        ours = await dialing.dial(None, listening.addresses, RELAY_PROTOCOL)
        yield ours, await theirs.get()


async def test_news_that_come_during_a_replay_are_sent_once_and_after_it() -> None:
    ada = Trader.named("ada", NOW_MS)
    kept = [ada.genesis(), ada.intake(1), ada.intake(2)]
    store = GatedStore()

    async def keep(record: Record) -> News:
        (cursor,) = (await store.commit(Batch([NewRecord(record, ())]))).cursors
        assert cursor is not None
        return News.of([Stored(cursor, record.raw)], {})

    async with link_pair() as (ours, theirs), asyncio.TaskGroup() as tasks:
        client = Client(ours)
        newest = 1
        first, second = await keep(kept[0]), await keep(kept[1])
        feed = Feed(
            Connection(ConnectionId(1), theirs, tasks),
            Replay(ConnectionId(1), ada.agent, 9, (Filter(),), 0),
            store,
            turns=Turns(),
            newest=lambda: newest,
            on_lagged=lambda: None,
        )
        feed.start(tasks)
        await store.has_scanned.wait()
        # The scan has seen the second one, of which the machine tells only now.
        newest = 2
        feed.deliver(second)
        newest = 3
        feed.deliver(await keep(kept[2]))
        store.gate.set()
        await client.next(frames.CaughtUp)
        assert client.drain() == [record.raw for record in kept]
        feed.deliver(first)
        feed.deliver(await keep(ada.intake(3)))
        assert (await client.event()).cursor == 4
        # One commit of which the replay has sent a part already.
        later = await keep(ada.intake(4))
        feed.deliver(News.of([Stored(4, b""), Stored(5, later.events[0][1])], {}))
        assert (await client.event()).cursor == 5


async def test_links_take_turns_whatever_one_of_them_has_in_store() -> None:
    turns: list[int] = []
    has_served = asyncio.Event()

    def run(event: Event) -> None:
        assert isinstance(event, Received)
        turns.append(event.connection)
        if len(turns) == 6:
            has_served.set()

    async with link_pair() as (_, link), asyncio.TaskGroup() as tasks:
        greedy, modest = (Connection(ConnectionId(number), link, tasks) for number in (1, 2))
        intake = Intake(run, None)
        for number in range(5):
            await intake.put(greedy, frames.Publish(number, ()), 10)
        await intake.put(modest, frames.Publish(9, ()), 10)
        serving = tasks.create_task(intake.serve(tasks))
        async with asyncio.timeout(5):
            await has_served.wait()
        serving.cancel()
    assert turns == [1, 2, 1, 1, 1, 1]


async def test_who_asks_without_end_holds_up_nobody() -> None:
    store = GatedStore()
    greedy, modest = Keypair.from_name("greedy"), Keypair.from_name("modest")
    await store.commit(Batch([NewRecord(Trader.named("ada", NOW_MS).genesis(), ())]))
    network = MemoryNetwork()
    relay = Keypair.from_name("relay")
    store.gate.set()
    async with (
        RelayService.open(relay, store) as service,
        network.open(relay, ["/memory/r"], [RELAY_PROTOCOL], service.on_link) as listening,
        network.open(greedy, [], [RELAY_PROTOCOL], lambda _: None) as first,
        network.open(modest, [], [RELAY_PROTOCOL], lambda _: None) as second,
    ):
        store.gate.clear()
        store.scans = 0
        many = Client(await first.dial(None, listening.addresses, RELAY_PROTOCOL))
        await many.hello()
        for number in range(50):
            await many.send(frames.Subscribe(100 + number, (Filter(),), 0))
            await many.ask(frames.Ping)
        assert store.scans == 1
        once = Client(await second.dial(None, listening.addresses, RELAY_PROTOCOL))
        await once.hello()
        store.has_scanned.clear()
        await once.send(frames.Subscribe(1, (Filter(),), 0))
        async with asyncio.timeout(5):
            await store.has_scanned.wait()
        assert store.scans == 2
        store.gate.set()
        await once.next(frames.CaughtUp)
        await many.next(frames.CaughtUp, lambda frame: frame.request == 149)


async def test_a_cursor_ahead_of_the_machine_is_not_one_of_another_store() -> None:
    store = GatedStore()
    store.gate.set()
    ada = Trader.named("ada", NOW_MS)
    await store.commit(Batch([NewRecord(ada.genesis(), ()), NewRecord(ada.intake(), ())]))
    for since, expected in ((2, 0), (3, 2)):
        async with link_pair() as (ours, theirs), asyncio.TaskGroup() as tasks:
            client = Client(ours)
            feed = Feed(
                Connection(ConnectionId(1), theirs, tasks),
                Replay(ConnectionId(1), ada.agent, 9, (Filter(),), since),
                store,
                turns=Turns(),
                newest=lambda: 1,
                on_lagged=lambda: None,
            )
            feed.start(tasks)
            await client.next(frames.CaughtUp)
            assert len(client.drain()) == expected


async def test_links_that_fell_silent_and_too_many_of_one_agent_are_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, relay, node = MemoryNetwork(), Keypair.from_name("relay"), Keypair.from_name("ada")
    async with (
        RelayService.open(relay, MemoryStore(bytes(32))) as service,
        network.open(relay, ["/memory/r"], [RELAY_PROTOCOL], service.on_link) as listening,
        network.open(node, [], [RELAY_PROTOCOL], lambda _: None) as dialing,
    ):
        clients = [
            Client(await dialing.dial(None, listening.addresses, RELAY_PROTOCOL))
            for _ in range(limits.LINKS_PER_AGENT_MAX + 2)
        ]
        for client in clients[2:]:
            await client.hello()
        assert [(await one.next(frames.Error)).code for one in clients[:2]] == ["rate-limited"] * 2
        monkeypatch.setattr(limits, "LINK_SILENT_S_MAX", 0.1)
        await clients[-1].ask(frames.Ping)
        assert (await clients[-1].next(frames.Error)).code == "timeout"
        monkeypatch.undo()
        await clients[2].ask(frames.Ping)


async def test_a_strangers_first_word_waits_for_nobody_elses() -> None:
    network, relay, store = MemoryNetwork(), Keypair.from_name("relay"), GatedStore()
    store.gate.set()
    options = Options(policy=Policy(work=WorkPolicy(bits=8)), clock=lambda: NOW_MS)
    async with (
        RelayService.open(relay, store, options) as service,
        network.open(relay, ["/memory/r"], [RELAY_PROTOCOL], service.on_link) as listening,
        network.open(Keypair.from_name("ada"), [], [RELAY_PROTOCOL], lambda _: None) as dialing,
    ):
        client = Client(await dialing.dial(None, listening.addresses, RELAY_PROTOCOL))
        await client.hello()
        ada = Trader.named("ada")
        store.gate.clear()
        store.has_scanned.clear()
        publishing = asyncio.create_task(client.publish(ada.genesis(), ada.intake()))
        await store.has_scanned.wait()  # for its stamps
        store.gate.set()
        accepted, refused = await publishing
        assert accepted == "accepted"
        assert refused.startswith("pow: 8 bits wanted for day ")


async def test_who_goes_on_beyond_its_allowance_is_read_from_more_slowly() -> None:
    loop = asyncio.get_running_loop()
    async with link_pair() as (_, link), asyncio.TaskGroup() as tasks:
        connection = Connection(ConnectionId(1), link, tasks)
        began_s = loop.time()
        await connection.wait_for_room()
        for _ in range(3):
            connection.pause()
        await connection.wait_for_room()
        assert loop.time() - began_s >= (1 + 2 + 4) * limits.PAUSE_AFTER_REFUSAL_S - 0.01
        connection.forgive()
        connection.pause()
        began_s = loop.time()
        await connection.wait_for_room()
        assert loop.time() - began_s < 4 * limits.PAUSE_AFTER_REFUSAL_S, "it begins anew"
        for _ in range(1_000):
            connection.pause()
        async with asyncio.timeout(2 * limits.PAUSE_S_MAX):
            await connection.wait_for_room()
