"""What one relay says or withholds must harm neither the node nor its dealings with the others."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.scripted_relay import NODE, RELAY, Relay, Wire

from bazaar_host.clock import SteadyClock
from bazaar_host.memory import MemoryNetwork
from bazaar_node.driver import Driver
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_post
from bazaar_node.market.events import Action, Asked, KeepData, Logged, Outgoing
from bazaar_node.market.turn import Pen
from bazaar_node.network import relays
from bazaar_node.network.relays import RelayOffice
from bazaar_node.service import PostRequest
from bazaar_node.storage.store import NodeStore, Parcel
from bazaar_protocol import frames, letters
from bazaar_protocol.errors import LinkClosed, OldBackup, StorageFull
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import Keypair, to_peer_id
from bazaar_protocol.kinds import Accept, Advert
from bazaar_protocol.records import Record, seal, unseal
from bazaar_protocol.sealing import seal_to

EVE = Keypair.from_name("eve")
ADVERT = Advert(1, "", (), (), (), 1, 0, 1)
OTHER = Keypair.from_name("other relay")
HERE, THERE = "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"
ADDRESS = f"{HERE}/p2p/{to_peer_id(RELAY.agent)}"
OTHER_ADDRESS = f"{THERE}/p2p/{to_peer_id(OTHER.agent)}"
pytestmark = pytest.mark.timeout(20)


class Scene:
    """A node's office with its store, and relays that do what the test says."""

    def __init__(self, store: NodeStore, driver: Driver, office: RelayOffice) -> None:
        self.relay, self.other = Relay(), Relay()
        self.store = store
        self.driver = driver
        self.office = office
        self.running: asyncio.Task[None]

    def act(self, action: Action) -> None:
        del action

    def dispatch(self, parcels: list[Parcel]) -> None:
        self.office.dispatch(parcels)

    def run(self, *addresses: str) -> None:
        self.running = asyncio.create_task(self.office.run(addresses))

    async def connected(self, relay: Relay, *, head: Record | None = None) -> Wire:
        """Welcome the node, let it check its head, and take its subscription."""
        wire = await relay.greeted()
        asked = await wire.take(frames.GetHead)
        known = () if head is None else (head.raw,)
        await wire.say(frames.Segment(asked.request, known, 0, False))
        return wire

    async def subscribed(self, relay: Relay) -> tuple[Wire, int]:
        wire = await self.connected(relay, head=await self.head())
        subscription: int | None = None
        while subscription is None:
            match await any_frame(wire):
                case frames.Publish(request, records):
                    await wire.say(frames.Published(request, ("accepted",) * len(records)))
                case frames.Subscribe(request):
                    subscription = request
                case _:
                    pass
        return wire, subscription

    async def listens(self, *, is_listening: bool = True) -> None:
        while self.driver.is_listening is not is_listening:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def head(self) -> Record:
        head = await self.store.head()
        return unseal((await self.store.log(head.seq, 1))[0])


async def any_frame(wire: Wire) -> frames.Frame:
    return await wire.take(object)  # type: ignore[arg-type]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncGenerator[Scene]:
    network = MemoryNetwork()
    async with NodeStore.open(tmp_path / "node.sqlite3") as store:

        async def build() -> Agent:
            return Agent(Pen(NODE, await store.head(), os.urandom), await store.live())

        pen = Pen(NODE, await store.head(), os.urandom)
        await store.write([Logged(pen.begin(bytes(32), 1))])
        driver = Driver(store, build, SteadyClock())
        async with network.open(NODE, [], [], lambda link: link.close()) as transport:
            scene = Scene(store, driver, RelayOffice(NODE, transport, store, driver))
            protocols = [frames.RELAY_PROTOCOL]
            async with (
                network.open(RELAY, [HERE], protocols, scene.relay.on_link),
                network.open(OTHER, [THERE], protocols, scene.other.on_link),
            ):
                await driver.load(scene)
                driving = asyncio.create_task(driver.run())
                scene.run(ADDRESS, OTHER_ADDRESS)
                try:
                    yield scene
                finally:
                    for task in (scene.running, driving):
                        task.cancel()
                    await asyncio.gather(scene.running, driving, return_exceptions=True)


async def test_a_head_that_is_in_no_log_ends_the_link_and_not_the_node(scene: Scene) -> None:
    advert = seal(NODE, ADVERT, time_ms=1)
    await scene.connected(scene.relay, head=advert)
    await scene.subscribed(scene.relay)  # it dials again
    assert not scene.running.done()


async def test_a_fork_that_a_relay_cannot_show_ends_the_link_and_not_the_node(
    scene: Scene,
) -> None:
    wire, _ = await scene.subscribed(scene.relay)
    await scene.driver.ask(await direct_post())
    status = "fork: believe me"
    shown = False
    while not shown:
        match await any_frame(wire):
            case frames.Publish(request, records):
                kinds = [unseal(raw).kind for raw in records]
                statuses = ["accepted" if kind == "post" else status for kind in kinds]
                await wire.say(frames.Published(request, tuple(statuses)))
            case frames.GetLog(request):
                await wire.say(frames.Segment(request, (), 0, False))
                shown = True
            case _:
                pass
    await scene.subscribed(scene.relay)
    assert not scene.running.done()


async def test_no_relay_is_told_anything_before_all_have_spoken(scene: Scene) -> None:
    """One relay knows nothing of us, and the other knows that our store is an old copy."""
    wire = await scene.connected(scene.relay)
    genesis = await scene.head()
    later = seal(
        NODE,
        Accept(bytes(32), Link(EVE.agent, 1, bytes(32)), 1, bytes(32), 1, b""),
        time_ms=1, seq=2, prev=genesis.id,
    )  # fmt: skip
    other = await scene.connected(scene.other, head=later)
    asked = await other.take(frames.GetLog)
    await other.say(frames.Segment(asked.request, (genesis.raw,), 0, False))
    with pytest.raises(BaseExceptionGroup) as caught:
        await scene.running
    assert caught.group_contains(OldBackup, match="type: bazaar recover")
    with pytest.raises(LinkClosed):
        await any_frame(wire)


async def test_a_relay_that_is_away_holds_up_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "START_TOGETHER_S", 1_000.0)
    (await scene.other.next()).link.close()
    wire = await scene.connected(scene.relay)
    assert isinstance(await any_frame(wire), frames.Publish)
    assert not scene.running.done()


async def test_a_fork_that_a_relay_can_show_ends_the_node(scene: Scene) -> None:
    wire, _ = await scene.subscribed(scene.relay)
    genesis = await scene.head()
    ours = seal(
        NODE,
        Accept(bytes(32), Link(EVE.agent, 1, bytes(32)), 1, bytes(32), 1, b""),
        time_ms=1, seq=2, prev=genesis.id,
    )  # fmt: skip
    await scene.driver.ask(await direct_post())
    while not scene.running.done():
        match await any_frame(wire):
            case frames.Publish(request, records):
                kinds = [unseal(raw).kind for raw in records]
                statuses = ["accepted" if kind == "post" else "fork: look" for kind in kinds]
                await wire.say(frames.Published(request, tuple(statuses)))
            case frames.GetLog(request):
                await wire.say(frames.Segment(request, (ours.raw,), 0, False))
                break
            case _:
                pass
    with pytest.raises(BaseExceptionGroup) as caught:
        await scene.running
    assert caught.group_contains(OldBackup)


async def test_a_full_mailbox_does_not_hold_up_the_records_behind(scene: Scene) -> None:
    wire, _ = await scene.subscribed(scene.relay)
    sealed = Outgoing(b"letter", EVE.agent)
    newest = await scene.store.write([sealed])
    scene.office.dispatch([Parcel(newest, sealed.raw, sealed.to)])
    await scene.driver.ask(await direct_post())
    kinds: list[str] = []
    while "award" not in kinds:
        match await any_frame(wire):
            case frames.Mail(request):
                await wire.say(frames.Error(request, "rate-limited", "its mailbox is full"))
            case frames.Publish(request, records):
                kinds += [unseal(raw).kind for raw in records]
                await wire.say(frames.Published(request, ("accepted",) * len(records)))
            case _:
                pass


async def test_a_relay_that_never_says_it_told_all_does_not_stop_the_clock(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazaar_node.network.relays.STRAGGLERS_S", 0.05)
    wire, number = await scene.subscribed(scene.relay)
    await scene.subscribed(scene.other)  # and then it says nothing
    await wire.say(frames.CaughtUp(number, 0))
    await scene.listens()


async def test_silence_is_not_judged_while_no_relay_is_there(scene: Scene) -> None:
    wire, number = await scene.subscribed(scene.relay)
    other, other_number = await scene.subscribed(scene.other)
    await wire.say(frames.CaughtUp(number, 0))
    await other.say(frames.CaughtUp(other_number, 0))
    await scene.listens()
    wire.link.close()
    other.link.close()
    await scene.listens(is_listening=False)


async def direct_post() -> Asked:
    request = PostRequest(capability="a.b", worker=EVE.agent.hex(), price=9)
    return Asked(draft_post(request, poster=NODE.agent, relay=None, addresses=(), nonce="1"))


async def test_a_relay_that_is_gone_for_long_does_not_fill_the_disk(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazaar_node.network.relays.TIDY_EVERY_S", 0.01)
    monkeypatch.setattr("bazaar_node.network.relays.OUTBOX_KEPT_MAX", 5)
    wire, _ = await scene.subscribed(scene.relay)
    records = [Outgoing(seal(NODE, ADVERT, time_ms=number).raw, None) for number in range(20)]
    newest = await scene.store.write(records)
    scene.office.dispatch(
        [Parcel(newest - 19 + number, one.raw, None) for number, one in enumerate(records)]
    )
    published = 0
    while published < 20:
        match await any_frame(wire):
            case frames.Publish(request, raws):
                published += len(raws)
                await wire.say(frames.Published(request, ("accepted",) * len(raws)))
            case _:
                pass
    while await scene.store.waiting(0) > 5:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert len(await scene.store.parcels(0, 20)) == 5  # for the other relay


async def test_a_letter_without_room_for_it_stays_at_the_relay_and_the_link_stays_up(
    scene: Scene,
) -> None:
    async def keep(action: KeepData) -> None:
        raise StorageFull("no room")

    scene.office.keep = keep
    wire, _ = await scene.subscribed(scene.relay)
    request = PostRequest(capability="a.b", worker=EVE.agent.hex(), price=9)
    body = draft_post(request, poster=NODE.agent, relay=None, addresses=(), nonce="1")
    task = (await scene.driver.ask(Asked(body))).begun()
    letter = letters.encode_letter(letters.TaskResult(task, 1, b"x"))
    sealed = seal_to(NODE.agent, EVE, letter, entropy=bytes(range(32)))
    other = seal_to(NODE.agent, EVE, b"nonsense", entropy=bytes(range(1, 33)))
    await wire.say(frames.Letter(1, sealed), frames.Letter(2, other))
    collected: list[int] = []
    while not collected:
        match await any_frame(wire):
            case frames.Publish(number, raws):
                await wire.say(frames.Published(number, ("accepted",) * len(raws)))
            case frames.Collect(number, those):
                collected += those
                await wire.say(frames.Collected(number))
            case _:
                pass
    assert collected == [2]
