"""What nodes answer about others they have dealt with, and what a cheat looks like from there."""

from pathlib import Path

import pytest
from tests.archives import Site, convicted, eventually, party
from tests.evidence_records import sign
from tests.reputation_records import deal

from bazaar_host.key_files import read
from bazaar_node.desk import Desk
from bazaar_node.policy_settings import PolicySettings
from bazaar_node.service import AuditReport, PostRequest
from bazaar_node.settings import OfferSettings
from bazaar_node.trust.histories import Circle
from bazaar_node.trust_service import WhyView
from bazaar_protocol import evidence_kinds
from bazaar_protocol.errors import ConfigError, NotFound, StorageError
from bazaar_protocol.identity import parse_agent, to_did
from bazaar_protocol.records import seal, unseal

pytestmark = [pytest.mark.timeout(60), pytest.mark.xdist_group("heavy")]

SHOUT = OfferSettings(capability="text.shout@2", command="echo {}", price=3)
NAP = OfferSettings(capability="text.nap", command="sleep 60")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def why(desk: Desk, agent: str) -> WhyView:
    """Return what carries a score, once something does."""

    async def look() -> WhyView | None:
        view = await desk.reputations.why(agent)
        return view if view.receipts else None

    view = await eventually(look)
    assert view is not None
    return view


def failed(report: AuditReport) -> list[str]:
    return [check.what for check in report.checks if not check.ok]


async def trade(ada: Desk, worker: str) -> None:
    task = await ada.post(PostRequest(capability="text.shout", worker=worker, price=3, input=b"a"))
    states = [detail.task.state async for detail in ada.watch(task.id)]
    assert states[-1] == "accepted"


async def test_good_work_shows_in_the_score_in_its_reasons_and_in_what_is_found(site: Site) -> None:
    async with (
        site.relay(),
        site.node("ada") as ada,
        site.node("bo", offers=[SHOUT, NAP]) as bo,
        site.node("cy", offers=[SHOUT]),
    ):
        worker = (await bo.status()).agent
        before = await ada.reputations.reputation(worker)
        assert (before.is_known, before.mean, before.good) == (False, 0.5, 0.0)
        await trade(ada, worker)
        view = await why(ada, worker)
        (receipt,) = view.receipts
        assert (receipt.why, receipt.adds, receipt.rater_weight, receipt.age) == (
            "accepted",
            1,
            1,
            0,
        )
        me = (await ada.status()).agent
        assert receipt.rater == me
        assert (receipt.kind, receipt.author) == ("verdict", me)
        assert view.reputation.lower > before.lower
        assert (view.left_out, view.weightless) == (0, 0)
        short = worker.removeprefix("did:key:")[:20]
        named = await ada.reputations.reputation(short, capability="text.shout@2")
        assert (named.agent, named.is_known, named.weight) == (worker, True, 1.0)
        poster = await bo.reputations.why(me, role="poster")
        assert [one.why for one in poster.receipts] in ([], ["accepted"])
        found = await ada.find(capability="text", words="", limit=9)
        assert [(one.agent == worker, one.capability, one.claim) for one in found] == [
            (True, "text.shout@2", "probed"),
            (True, "text.nap@1", "claimed"),
            (False, "text.shout@2", "claimed"),
        ]
        assert found[0].lower > found[-1].lower
        assert [one.is_known for one in found] == [True, False, False]
        report = await ada.audit(short)
        assert report.is_sound, failed(report)
        assert any("1 receipts of 1 contracts, derived again" in one.what for one in report.checks)
        rebuilt = await ada.reputations.rebuild()
        assert rebuilt.differences == () or rebuilt.came_meanwhile
        await ada.archive.evidence.work(lambda db: db.execute("DELETE FROM tally"))
        rebuilt = await ada.reputations.rebuild()
        assert f"the sums of worker {worker}" in rebuilt.differences


async def test_evidence_convinces_another_node_that_has_never_met_anybody(
    site: Site, tmp_path: Path
) -> None:
    bo, cy = party("bo"), party("cy")
    deal(cy, bo, "accepted")
    path = tmp_path / "bo.evidence"
    async with site.relay(), site.node("ada") as ada, site.node("dee") as dee:
        await ada.archive.evidence.keep([*cy.log, *bo.log], Circle.OTHER)
        wrote = await ada.reputations.export_to(path, to_did(bo.agent))
        with pytest.raises(StorageError):
            await ada.reputations.export_to(path)
        with pytest.raises(ConfigError, match="absolute"):
            await ada.reputations.export_to(Path("bo.evidence"))
        done = await dee.reputations.import_from(path)
        assert (done.read, done.refused) == (wrote.records, 0)
        view = await dee.reputations.why(to_did(bo.agent))
        assert (view.receipts, view.weightless) == ((), 1), "nobody that dee trusts says so"
        with pytest.raises(NotFound):
            await dee.reputations.reputation("z6Mknobody")
    trusting = PolicySettings(seeds=[to_did(cy.agent)])
    async with site.relay(), site.node("dee", policy=trusting) as dee:
        view = await dee.reputations.why(to_did(bo.agent))
        assert [one.rater for one in view.receipts] == [to_did(cy.agent)]
        assert (view.reputation.is_known, view.weightless) == (True, 0)


async def test_a_forked_log_fails_an_audit_and_the_proof_is_checked_again(site: Site) -> None:
    bo, cy = party("bo"), party("cy")
    deal(cy, bo, "accepted")
    other = sign(bo, evidence_kinds.Intake(bytes(32), 9, 9), 2)
    async with site.relay(), site.node("ada") as ada, site.node("dee") as dee:
        await site.publish([bo.log[0], *bo.log[1:], other])
        await convicted(ada.archive, bo.agent)
        at_once = await dee.reputations.reputation(to_did(bo.agent))
        assert at_once.entries, "who was never heard of is looked into"
        view = await ada.reputations.reputation(to_did(bo.agent))
        assert (view.is_convicted, view.lower, view.mean, view.weight) == (True, 0, 0, 0)
        assert view.conviction is not None
        assert (view.conviction.claim, view.conviction.place) == ("equivocation", 2)
        said = failed(await ada.audit(to_did(bo.agent)))
        proof = view.conviction.proof[:12]
        shown = f"convicted of equivocation at entry 2, proof {proof}, checked again: it holds"
        assert shown in said


async def test_a_cut_tail_fails_an_audit_and_who_shows_it_is_named(site: Site) -> None:
    bo, cy = party("bo"), party("cy")
    signed = deal(cy, bo, "accepted")
    async with site.relay(), site.node("ada") as ada:
        await site.publish([bo.log[0], cy.log[0], *signed[:3], *cy.log[1:]])
        await ada.archive.look_into(cy.agent)
        (said,) = failed(await ada.audit(to_did(bo.agent)))
        assert said.startswith("cut-tail at entry 3: ")
        assert said.endswith(f"by {to_did(cy.agent)}")
        await site.publish(bo.log)
        report = await ada.audit(to_did(bo.agent))
        assert report.is_sound, failed(report)


async def test_a_convict_is_last_or_not_found_and_gets_nothing(site: Site) -> None:
    cheap = OfferSettings(capability="text.shout@2", command="echo {}", price=1)
    async with (
        site.relay(),
        site.node("ada") as ada,
        site.node("bo", offers=[SHOUT]) as bo,
        site.node("mal", offers=[cheap]) as mal,
    ):
        worker = (await mal.status()).agent
        await trade(ada, worker)
        await why(ada, worker)
        before = await ada.find(capability="text", words="", limit=9)
        assert [one.agent == worker for one in before] == [True, False]
        log = await ada.archive.evidence.read(
            lambda db: db.execute(
                "SELECT raw FROM evidence WHERE author = ? AND seq = 2", (parse_agent(worker),)
            ).fetchall()
        )
        accept = unseal(log[0][0])
        keys = read((site.folder / "mal" / "node.key"), lambda: b"")
        body = evidence_kinds.Vouch(parse_agent((await bo.status()).agent), is_withdrawn=False)
        other = seal(keys, body, time_ms=accept.time_ms, seq=accept.seq, prev=accept.prev)
        (status,) = await site.publish([other])
        assert status.startswith("fork:")
        await convicted(ada.archive, keys.agent)
        after = ada.reputations.graded(before)  # as a relay would show it that knows nothing yet
        assert [one.agent == worker for one in after] == [False, True]
        assert (after[1].is_convicted, after[1].lower, after[1].claim) == (True, 0.0, "claimed")
        found = await ada.find(capability="text", words="", limit=9)
        assert [one.agent == worker for one in found] == [False], "this one knows"
        task = await ada.post(PostRequest(capability="text.shout", price_max=9, input=b"a"))
        states = [detail.task async for detail in ada.watch(task.id)]
        assert (states[-1].state, states[-1].worker) == ("accepted", (await bo.status()).agent)
