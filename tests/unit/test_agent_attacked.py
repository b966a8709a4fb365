"""The pure agent among strangers: nothing they say breaks it, fills it, or makes it oversign."""

import itertools
from contextlib import suppress
from hashlib import sha256, sha512

import msgspec
import nacl.bindings as sodium
import pytest
from tests import market as markets
from tests.market import Market
from tests.market_records import Trader

from bazaar_node.market.drafts import draft_post
from bazaar_node.market.events import (
    Arrived,
    Asked,
    LearnTask,
    Outgoing,
    Ticked,
    WorkDone,
    WorkFailed,
    WorkProgressed,
)
from bazaar_node.service import PostRequest
from bazaar_protocol import award
from bazaar_protocol.errors import BadSignature, MalformedRecord
from bazaar_protocol.identity import AgentId, verify
from bazaar_protocol.kinds import Accept, Post
from bazaar_protocol.log import Head, check_segment
from bazaar_protocol.records import Record, unseal
from bazaar_protocol.task import State, link_to

CAPABILITY = "table.extract"
DAY_S = 24 * 3600


class Scene:
    """One worker, and a stranger who signs what it likes."""

    def __init__(self) -> None:
        self.market = Market()
        self.bo: markets.Trader = self.market.add("bo", capability=CAPABILITY, price=40)
        self.eve = Trader.named("eve", self.market.now_ms)
        self.eve.genesis()
        self._posts = 0

    def post(self, **request: object) -> Record:
        return self.eve.say(self.draft(**request))

    def draft(self, **request: object) -> Post:
        self._posts += 1
        wanted = PostRequest(**({"capability": CAPABILITY} | request))  # type: ignore[arg-type]
        return draft_post(
            wanted, poster=self.eve.agent, relay=None, addresses=(), nonce=str(self._posts)
        )

    def award(self, post: Record, price: int, bid: bytes = b"") -> Record:
        return self.eve.say(award.draft(post, self.bo.keys.agent, epoch=1, price=price, bid=bid))

    def hand(self, *records: Record) -> None:
        for record in records:
            self.market.tell("bo", Arrived(record))

    def run(self, **request: object) -> Record:
        """Let the worker accept a direct task."""
        post = self.post(worker=self.bo.keys.agent.hex(), price=50, **request)
        self.hand(post, self.award(post, 50))
        assert self.market.task("bo", post.id).state is State.RUNNING
        return post

    def finish(self, post: Record, result: bytes = b"{}") -> None:
        digest = sha256(result).digest()
        event = WorkDone(post.id, 1, digest, len(result), "application/json", result)
        self.market.tell("bo", event)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_post_that_contradicts_itself_is_not_remembered_for_later(scene: Scene) -> None:
    first = scene.run()
    bad = msgspec.structs.replace(scene.draft(price=50), bid_window_ms=0, mode="direct")
    with pytest.raises(MalformedRecord):
        scene.hand(scene.eve.say(bad))  # while its only slot is taken
    scene.finish(first)  # which frees the slot
    assert scene.market.task("bo", first.id).state is State.DELIVERED
    scene.run()
    check_segment([record.raw for record in scene.bo.log])


def test_a_direct_award_below_our_price_is_declined(scene: Scene) -> None:
    post = scene.post(worker=scene.bo.keys.agent.hex(), price=50)
    scene.hand(post, scene.award(post, 39))
    assert [record.kind for record in scene.bo.log] == ["genesis"]
    assert scene.market.task("bo", post.id).state is State.FAILED


def test_a_machine_that_slept_for_days_lets_its_lease_go(scene: Scene) -> None:
    post = scene.run()
    scene.market.now_ms += 40 * DAY_S * 1000
    scene.market.tell("bo", Ticked())
    assert scene.bo.agent.load == 0
    assert scene.market.task("bo", post.id).state is State.FAILED
    assert "lease_lost" in {what for what, _ in scene.bo.notes}


def test_a_note_that_is_no_unicode_neither_stops_heartbeats_nor_a_withdrawal(scene: Scene) -> None:
    post = scene.run()
    scene.market.tell("bo", WorkProgressed(post.id, 1, 5, "page \udc80"))
    scene.market.wait(15)
    assert ("progress", "5% page ?") in scene.bo.notes
    scene.market.tell("bo", WorkFailed(post.id, 1, "no file \udc80"))
    assert scene.bo.log[-1].kind == "withdraw"


def test_an_accept_that_came_before_its_award_counts_when_it_comes_again() -> None:
    # A relay sequences the task, and another relay is faster with the worker's answer.
    market = Market()
    market.add("ada")
    relay, bo = Trader.named("relay", market.now_ms), Trader.named("bo", market.now_ms)
    relay.genesis()
    bo.genesis()
    ada = market.traders["ada"]
    body = draft_post(
        PostRequest(capability=CAPABILITY, price=50, sequencer="relay"),
        poster=ada.keys.agent, relay=relay.agent, addresses=(), nonce="1",
    )  # fmt: skip
    task = market.tell("ada", Asked(body)).begun()
    post = market.task("ada", task).post
    given = relay.say(award.draft(post, bo.agent, epoch=1, price=50))
    answer = Accept(task, link_to(given), 1, given.body.terms, 1, b"")  # type: ignore[union-attr, arg-type]
    accept = bo.say(answer)
    for record in (accept, given, accept):
        market.tell("ada", Arrived(record))
    assert market.task("ada", task).state is State.RUNNING


def test_awards_of_tasks_that_are_over_are_not_asked_about(scene: Scene) -> None:
    post = scene.run()
    scene.finish(post)
    given = scene.award(post, 50)
    scene.hand(given)
    assert not any(isinstance(action, LearnTask) for action in scene.bo.actions)


class TwistedKeys:
    """A key outside the main subgroup: its signatures hold, and nobody can encrypt to it."""

    def __init__(self) -> None:
        torsion = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
        self._secret = _scalar(b"secret")
        point = sodium.crypto_scalarmult_ed25519_base_noclamp(self._secret)
        self.agent = AgentId(sodium.crypto_core_ed25519_add(point, torsion))

    def sign(self, domain: bytes, message: bytes) -> bytes:
        for number in itertools.count():
            nonce = _scalar(message + b"%d" % number)
            shown = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
            challenge = _scalar(shown + self.agent + domain + message)
            product = sodium.crypto_core_ed25519_scalar_mul(challenge, self._secret)
            signature = shown + sodium.crypto_core_ed25519_scalar_add(nonce, product)
            with suppress(BadSignature):  # seven of eight nonces do not cancel the torsion
                verify(self.agent, domain, message, signature)
                return bytes(signature)
        raise AssertionError("numbers do not end")


def _scalar(seed: bytes) -> bytes:
    return bytes(sodium.crypto_core_ed25519_scalar_reduce(sha512(seed).digest()))


def test_one_who_cannot_be_written_to_gets_no_bid_and_spoils_no_turn(scene: Scene) -> None:
    scene.eve.keys = TwistedKeys()  # type: ignore[assignment]
    scene.eve.head = Head.empty()
    scene.eve.genesis()
    scene.hand(scene.post(price_max=50, mode="auction"))
    said = [change for change in scene.bo.changes if isinstance(change, Outgoing)]
    assert [unseal(one.raw).kind for one in said] == ["decline"]
    post = scene.run()
    scene.finish(post)  # whose letter nobody could read
    assert scene.bo.log[-1].kind == "deliver"
    assert not scene.bo.agent.is_spoiled
