"""Nodes that gather evidence from real relays: what is wrong with a history is named, and shown."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from tests.archives import Site, convicted, eventually, party
from tests.evidence_records import sign
from tests.lives import end, mortal, stamped
from tests.reputation_records import deal

from bazaar_host import clock
from bazaar_node.service import PostRequest
from bazaar_node.settings import OfferSettings
from bazaar_node.trust import authors
from bazaar_node.trust.archive import Archive
from bazaar_node.trust.histories import Circle
from bazaar_node.trust.receipts import Receipt, Receipts
from bazaar_protocol import evidence_kinds, limits
from bazaar_protocol.identity import AgentId, parse_agent
from bazaar_protocol.log import Head, check_proof
from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_reputation.scores import Scorer

pytestmark = [pytest.mark.timeout(60), pytest.mark.xdist_group("heavy")]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def want(archive: Archive, agent: AgentId, circle: Circle) -> None:
    evidence = archive.evidence
    await evidence.work(lambda db: authors.take_interest(db, [agent], circle, evidence.now_ms()))


async def test_who_forks_his_log_becomes_known_to_every_subscriber(site: Site) -> None:
    """Two relays each have one half of it; one node looks, and all learn of it."""
    bo = party("bo")
    first = [bo.log[0], *bo.go_on(3)]
    other = [sign(bo, evidence_kinds.Intake(bytes(32), 9, 9), 3)]
    async with site.relay(1), site.relay(2):
        assert set(await site.publish(first, 1)) == {"accepted"}
        assert set(await site.publish([*first[:2], *other], 2)) == {"accepted"}
        async with site.node("ada", (1, 2)) as ada, site.node("cy", (2,)) as cy:
            history = await ada.archive.look_into(bo.agent)
            assert [flaw.what for flaw in history.flaws] == ["fork"]
            assert history.conviction is not None
            await ada.archive.tell()
            proof = await convicted(cy.archive, bo.agent)
            assert isinstance(proof.body, evidence_kinds.Proof)
            assert check_proof(proof.body) == bo.agent
            score = cy.archive.scorer.score(bo.agent)
            assert (score.lower, score.is_convicted) == (0, True)
        async with site.node("late", (1,)) as late:  # it was not there when it happened
            await convicted(late.archive, bo.agent)


@pytest.mark.parametrize("told", [[4], [3, 4], [4, 5, 6]])
async def test_a_fork_is_proved_whatever_was_heard_of_both_branches_before(
    site: Site, told: list[int]
) -> None:
    """Entries that were told as they were signed must not hide where the two logs part."""
    bo = party("bo")
    first = [bo.log[0], *bo.go_on(7)]
    del bo.log[2:]
    branch = [*first[:2], *(bo.say(evidence_kinds.Intake(bytes(32), 9, n)) for n in range(4))]
    async with site.relay(1), site.relay(2):
        assert set(await site.publish(first, 1)) == {"accepted"}
        assert set(await site.publish(branch, 2)) == {"accepted"}
        async with site.node("ada", (1, 2)) as ada:
            await ada.archive.evidence.keep([branch[seq - 1] for seq in told], Circle.PARTNER)
            history = await ada.archive.look_into(bo.agent)
            assert history.conviction is not None
            assert (history.conviction.claim, history.conviction.place) == ("equivocation", 3)


async def test_a_log_that_was_cut_off_is_named_and_who_shows_it(site: Site) -> None:
    bo, cy = party("bo"), party("cy")
    signed = deal(cy, bo, "accepted")
    async with site.relay(1):
        # Of bo's log the relay gets all but its last entry, the deliver; cy's verdict names that.
        await site.publish([bo.log[0], cy.log[0], *signed[:3], *cy.log[1:]])
        async with site.node("ada") as ada:
            await ada.archive.look_into(cy.agent)
            history = await ada.archive.look_into(bo.agent)
            (flaw,) = history.flaws
            assert (flaw.what, flaw.place, flaw.last) == ("cut-tail", 3, 3)
            assert flaw.source == cy.agent
            await site.publish(bo.log)  # it was only late
            assert (await ada.archive.look_into(bo.agent)).flaws == ()
            assert [one.finding.why for one in await ada.archive.receipts(bo.agent)] == ["accepted"]


async def test_a_hole_in_a_log_is_named(site: Site) -> None:
    bo = party("bo")
    bo.go_on(9)
    async with site.relay(1), site.node("ada") as ada:
        await site.publish(bo.log[:4])
        await ada.archive.evidence.keep([bo.log[8]], Circle.PARTNER)
        history = await ada.archive.look_into(bo.agent)
        assert [(flaw.what, flaw.place, flaw.last) for flaw in history.flaws] == [("gap", 5, 8)]
        assert (history.whole, history.head) == (4, 9)
        await site.publish(bo.log[4:])
        history = await ada.archive.look_into(bo.agent)
        assert (history.flaws, history.whole, history.head) == ((), 10, 10)


async def test_a_sync_goes_on_where_it_was_cut_short(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ENTRIES_PER_SYNC_MAX", 256)
    bo = party("bo")
    bo.go_on(700)
    async with site.relay(1):
        await site.publish(bo.log)
        async with site.node("ada") as ada:
            assert (await ada.archive.look_into(bo.agent)).whole == 256
        async with site.node("ada") as ada:
            assert (await ada.archive.look_into(bo.agent)).whole == 512
            assert (await ada.archive.look_into(bo.agent)).whole == 701
            asked = ada.archive.requests.made
            assert (await ada.archive.look_into(bo.agent)).flaws == ()
            assert ada.archive.requests.made == asked + 1, "no news costs one request"


async def test_of_a_long_log_the_newest_part_is_fetched(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AUTHOR_ENTRIES_FETCHED_MAX", 100)
    bo = party("bo")
    bo.go_on(300)
    async with site.relay(1), site.node("ada") as ada:
        await site.publish(bo.log)
        history = await ada.archive.look_into(bo.agent)
        assert (history.first, history.whole, history.entries) == (202, 301, 100)
        assert history.flaws == ()


async def test_raters_of_whom_we_deal_with_are_looked_at_in_the_background(site: Site) -> None:
    """Nobody asks for it: ada wants bo's log, which names cy, whose verdict is in cy's log."""
    bo, cy = party("bo"), party("cy")
    deal(cy, bo, "accepted")
    async with site.relay(1):
        await site.publish([bo.log[0], cy.log[0], *cy.log[1:2], *bo.log[1:], *cy.log[2:]])
        async with site.node("ada") as ada:
            await want(ada.archive, bo.agent, Circle.BIDDER)
            await ada.archive.follow()  # what makes it look again
            shown = await eventually(lambda: ada.archive.receipts(bo.agent))
            assert [one.finding.strand.rater for one in shown] == [cy.agent]
            assert (await ada.archive.history(cy.agent)).circle is Circle.RATER


async def receipt(archive: Archive, relay: AgentId) -> Receipt | None:
    await archive.ask_for_receipts()
    return await Receipts(archive.evidence, archive.evidence.keys).held(relay)


class Forgetful(MemoryStore):
    """Of a relay that denies what it had."""

    def __init__(self, name: bytes) -> None:
        super().__init__(name)
        self.denied: set[AgentId] = set()

    async def heads(self, authors: Sequence[AgentId]) -> Mapping[AgentId, Head]:
        found = await super().heads(authors)
        return {agent: head for agent, head in found.items() if agent not in self.denied}

    async def log(self, author: AgentId, *, first: int, last: int, limit: int) -> list[bytes]:
        if author in self.denied:
            return []
        return await super().log(author, first=first, last=last, limit=limit)


async def test_a_receipt_and_a_statement_that_contradict_each_other_convict_a_relay(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INTAKE_AFTER_MS", 20)
    relay, store = site.keys(1).agent, Forgetful(bytes(32))
    async with site.relay(2), AsyncExitStack() as honest:
        await honest.enter_async_context(site.relay(1, store=store))
        async with site.node("ada", (1, 2)) as ada:
            await eventually(lambda: receipt(ada.archive, relay))
            await honest.aclose()
            store.denied.add(parse_agent((await ada.status()).agent))
            async with site.relay(1, store=store):
                record = await convicted(ada.archive, relay)
                assert isinstance(record.body, evidence_kinds.Omission)
                await ada.archive.tell()
            async with site.node("cy", (2,)) as cy:
                assert (await convicted(cy.archive, relay)).id == record.id
                (flaw,) = (await cy.archive.history(relay)).flaws
                assert (flaw.what, flaw.source) == ("omission", record.author)


async def test_a_relay_that_leaves_something_out_is_found_out_while_the_link_holds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INTAKE_AFTER_MS", 20)
    relay, store = site.keys(1).agent, Forgetful(bytes(32))
    async with site.relay(1, store=store), site.relay(2), site.node("ada", (1, 2)) as ada:
        await eventually(lambda: receipt(ada.archive, relay))
        store.denied.add(parse_agent((await ada.status()).agent))
        await ada.archive.ask_for_receipts()
        await ada.archive.ask_for_receipts()
        record = await convicted(ada.archive, relay)
        assert isinstance(record.body, evidence_kinds.Omission)
        assert (await ada.archive.history(relay)).conviction is not None


async def test_a_trade_is_evidence_for_both_sides_of_it(site: Site) -> None:
    """And what one of them shows to a third, the third believes as far as it can check it."""
    offer = OfferSettings(capability="text.count", command="printf {}", price=5)
    async with site.relay(1), site.node("bo", offers=[offer]) as bo, site.node("ada") as ada:
        worker, poster = [parse_agent((await one.status()).agent) for one in (bo, ada)]
        request = PostRequest(capability="text.count", input=b"one", price=9, bid_window_ms=50)
        task = (await ada.post(request)).id
        async for detail in ada.watch(task):
            assert detail.task.state not in {"rejected", "failed"}
        for desk, about in ((ada, worker), (bo, poster)):
            (shown,) = await eventually(partial(desk.archive.receipts, about))
            assert (shown.finding.why, shown.finding.is_good) == ("accepted", True)
            assert desk.archive.scorer.score(about, shown.finding.strand.role).is_known
            assert (await desk.archive.history(about)).circle is Circle.PARTNER
        scorer = ada.archive.scorer
        trusted = scorer.score(worker, capability="text.count").lower
        assert trusted > scorer.score(poster).lower
        await ada.archive.export_to(site.folder / "evidence")
        async with site.node("cy") as cy:
            imported = await cy.archive.import_from(site.folder / "evidence")
            assert imported.refused == 0
            (shown,) = await cy.archive.receipts(worker)
            assert shown.finding.strand.rater == poster


async def test_a_stamp_of_a_stranger_is_seen_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks has never heard of its author, and may hear of it before or after."""
    monkeypatch.setattr(limits, "STAMP_BITS_MIN", 8)
    early, late = party("early"), party("late")
    async with site.relay(1):
        await site.publish([early.log[0], stamped(early)])
        async with site.node("ada") as ada:
            await site.publish([late.log[0], stamped(late)])
            for one in (early, late):
                await eventually(partial(_is_stamped, ada.archive, one.agent))
            assert (await ada.archive.history(late.agent)).entries == 0, "its log is nobody's wish"


async def _is_stamped(archive: Archive, agent: AgentId) -> bool:
    return archive.scorer.score(agent).admission == "stamped"


async def test_who_carries_on_keeps_what_was_earned_and_no_thief_spoils_it(site: Site) -> None:
    bo, cy, heir = mortal("bo", clock.now_ms()), party("cy"), party("heir")
    deal(cy, bo, "accepted")
    heir.say(evidence_kinds.Vouch(bo.agent, is_withdrawn=False))
    ended = end(bo, heir, bo.head.seq, time_ms=clock.now_ms())
    async with site.relay(1):
        await site.publish([bo.log[0], cy.log[0], *cy.log[1:2], *bo.log[1:], *cy.log[2:]])
        async with site.node("ada") as ada:
            for one in (bo, heir):
                await want(ada.archive, one.agent, Circle.BIDDER)
            await ada.archive.follow()
            await eventually(lambda: ada.archive.receipts(bo.agent))
            assert set(await site.publish([ended, *heir.log])) == {"accepted"}
            deal(cy, bo, "rejected")  # by a thief, whom no relay helps
            await ada.archive.evidence.keep([*bo.log, *cy.log], Circle.PARTNER)
            await ada.archive.look_into(heir.agent)
            await eventually(lambda: _heir(ada.archive, bo.agent))
            parts = ada.archive.scorer.parts(heir.agent)
            shown = [one.finding.why for one in await ada.archive.receipts(bo.agent)]
        assert shown == ["accepted"]
        assert parts == ()  # ada has no way to cy: nobody's word weighs anything yet
        async with site.node("ada") as ada:
            assert (await ada.archive.history(bo.agent)).heir == heir.agent
            scorer = Scorer(ada.archive.book, cy.agent)
            score = scorer.score(heir.agent)
            assert (score.is_known, score.bad) == (True, 0.0)
            assert scorer.score(bo.agent) == score


async def _heir(archive: Archive, agent: AgentId) -> AgentId | None:
    return (await archive.history(agent)).heir
