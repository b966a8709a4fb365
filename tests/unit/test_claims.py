"""A claim that is lost with the link is made again: the relay offers a task only once."""

from pathlib import Path

import pytest
from tests.scripted_relay import RELAY, Relay, Wire
from tests.strategies import make_post
from tests.town import until

from bazaar_host import clock
from bazaar_host.memory import MemoryNetwork
from bazaar_node import homes
from bazaar_node.daemon import open_node
from bazaar_node.settings import NodeSettings, OfferSettings
from bazaar_protocol import frames
from bazaar_protocol.identity import Keypair, to_peer_id
from bazaar_protocol.records import Record, seal

HERE = "/ip4/127.0.0.1/tcp/1"
ADA = Keypair.from_name("ada")

pytestmark = pytest.mark.timeout(20)


async def serve_until_claim(wire: Wire, *posts: Record) -> frames.Claim:
    """Answer as a relay does, offer ``posts``, and return a claim without an answer to it."""
    while True:
        frame: frames.Frame = await wire.take(object)  # type: ignore[arg-type]
        match frame:
            case frames.GetHead(request):
                await wire.say(frames.Segment(request, (), 0, False))
            case frames.Publish(request, records):
                await wire.say(frames.Published(request, ("accepted",) * len(records)))
            case frames.Subscribe(request, _, since):
                offers = () if since else enumerate(posts, start=7)
                await wire.say(*(frames.Event(cursor, post.raw) for cursor, post in offers))
                await wire.say(frames.CaughtUp(request, 6 + len(posts)))
            case frames.Claim() as claim:
                return claim
            case other:
                raise AssertionError(f"a worker has no reason to send {other}")


async def test_a_claim_that_is_lost_with_the_link_is_made_again(tmp_path: Path) -> None:
    network, relay = MemoryNetwork(), Relay()
    body = make_post(mode="claim", bid_window_ms=0, sequencer=RELAY.agent, capability_version=1)
    post = seal(ADA, body, time_ms=clock.now_ms())
    homes.create(tmp_path, name="bo", relays=(), passphrase=None)
    settings = NodeSettings(
        relays=[f"{HERE}/p2p/{to_peer_id(RELAY.agent)}"],
        offers=[OfferSettings(capability="pdf.extract", command="true")],
        home=tmp_path,
    )
    async with network.open(RELAY, [HERE], [frames.RELAY_PROTOCOL], relay.on_link):
        for attempt in ("after the lost link", "after the restart"):
            async with open_node(settings, open_transport=network.open):
                wire = await relay.greeted()
                claim = await serve_until_claim(wire, post)
                assert claim.task == post.id, attempt
                wire.link.close()
                wire = await relay.greeted()
                claim = await serve_until_claim(wire, post)
                assert claim.task == post.id, attempt
                # Another was faster; when its lease is lost, nobody tells us.
                await wire.say(frames.Error(claim.request, "taken", "it is running"))
                again = await serve_until_claim(wire, post)
                assert again.task == post.id, attempt


async def test_a_worker_claims_no_more_than_it_has_slots_for(tmp_path: Path) -> None:
    """It would only decline it, and hold others up: a relay does not forgive that for ever."""
    network, relay = MemoryNetwork(), Relay()
    body = make_post(mode="claim", bid_window_ms=0, sequencer=RELAY.agent, capability_version=1)
    first, second = (seal(ADA, body, time_ms=clock.now_ms() + one) for one in range(2))
    homes.create(tmp_path, name="bo", relays=(), passphrase=None)
    settings = NodeSettings(
        relays=[f"{HERE}/p2p/{to_peer_id(RELAY.agent)}"],
        offers=[OfferSettings(capability="pdf.extract", command="true")],
        home=tmp_path,
        slots=1,
    )
    async with (
        network.open(RELAY, [HERE], [frames.RELAY_PROTOCOL], relay.on_link),
        open_node(settings, open_transport=network.open) as bo,
    ):
        wire = await relay.greeted()
        claim = await serve_until_claim(wire, first, second)
        worker = bo._driver.agent._worker
        other = second if claim.task == first.id else first
        await until(lambda: other.id in worker._deferred._posts, lambda is_so: is_so)
        assert bo._errands._claims == 1
        while claim.task != other.id:
            await wire.say(frames.Error(claim.request, "expired", "it is over"))
            claim = await serve_until_claim(wire)
