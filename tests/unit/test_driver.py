"""What must hold between an agent and its store: nothing is acted on before it is kept."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bazaar_host.clock import SteadyClock
from bazaar_node.driver import Driver
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_post
from bazaar_node.market.events import Action, Asked
from bazaar_node.market.turn import Pen
from bazaar_node.service import PostRequest
from bazaar_node.storage.store import NodeStore, Parcel
from bazaar_protocol.errors import StorageError
from bazaar_protocol.identity import Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import unseal

KEYS = Keypair.from_name("ada")


class Recorder:
    """A reactor that writes down what it was given."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.parcels: list[Parcel] = []

    def act(self, action: Action) -> None:
        self.actions.append(action)

    def dispatch(self, parcels: list[Parcel]) -> None:
        self.parcels.extend(parcels)


class Scene:
    def __init__(self, store: NodeStore, driver: Driver, reactor: Recorder) -> None:
        self.store = store
        self.driver = driver
        self.reactor = reactor

    async def post(self, nonce: str) -> None:
        body = draft_post(
            PostRequest(capability="a.b"),
            poster=KEYS.agent, relay=None, addresses=(), nonce=nonce,
        )  # fmt: skip
        await self.driver.ask(Asked(body))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncGenerator[Scene]:
    async with NodeStore.open(tmp_path / "node.sqlite3") as store:

        async def build() -> Agent:
            return Agent(Pen(KEYS, await store.head(), os.urandom), await store.live())

        await store.write([])
        driver, reactor = Driver(store, build, SteadyClock()), Recorder()
        await driver.load(reactor)
        running = asyncio.create_task(driver.run())
        try:
            yield Scene(store, driver, reactor)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def forbid_writing(store: NodeStore, *, forbidden: bool) -> None:
    """Make every insert into the outbox fail, as a full disk would."""

    def change(db: sqlite3.Connection) -> None:
        if forbidden:
            db.execute(
                """CREATE TEMP TRIGGER full BEFORE INSERT ON main.outbox
                   BEGIN SELECT RAISE(ABORT, 'no room'); END"""
            )
        else:
            db.execute("DROP TRIGGER full")

    await store._database.transaction(change)


async def test_what_is_dispatched_is_durable_and_numbered(scene: Scene) -> None:
    for nonce in ("one", "two", "three"):
        await scene.post(nonce)
    kept = await scene.store.parcels(0, 10)
    assert kept == scene.reactor.parcels
    assert [unseal(parcel.raw).kind for parcel in kept] == ["post"] * 3


async def test_nobody_is_told_of_what_is_not_durable(scene: Scene) -> None:
    posting, known = asyncio.create_task(scene.post("one")), 0
    while not posting.done():
        await asyncio.sleep(0)
        agent = await scene.driver.settled()
        known = len(list(agent._ledger.live("poster")))
        assert known == len(await scene.store.tasks(role="poster", state=None, limit=9))
    assert known == 1


async def test_many_events_share_a_commit(scene: Scene) -> None:
    before = scene.store.commits
    await asyncio.gather(*(scene.post(str(number)) for number in range(50)))
    assert scene.store.commits - before < 25
    assert len(await scene.store.parcels(0, 100)) == 50


async def test_a_failed_commit_has_not_happened(scene: Scene) -> None:
    await scene.post("before")
    await forbid_writing(scene.store, forbidden=True)
    with pytest.raises(StorageError, match="no room"):
        await scene.post("lost")
    assert len(scene.reactor.parcels) == 1
    assert len(await scene.store.tasks(role=None, state=None, limit=9)) == 1
    await forbid_writing(scene.store, forbidden=False)
    await scene.post("after")
    assert [parcel.number for parcel in scene.reactor.parcels] == [1, 2]
    assert len(await scene.store.tasks(role=None, state=None, limit=9)) == 2


async def test_the_head_is_never_used_twice_after_a_failed_commit(scene: Scene) -> None:
    scene.driver.agent.pen.begin(bytes(32), 1)  # signed, and then not kept
    assert (await scene.store.head()) == Head.empty()
    await forbid_writing(scene.store, forbidden=True)
    with pytest.raises(StorageError):
        await scene.post("lost")
    assert scene.driver.agent.pen.head == Head.empty()
