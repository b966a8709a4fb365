"""Evidence at a relay: whom it shuns, which identities have ended, and to what it is a witness."""

import pytest
from tests.market_records import Trader
from tests.relay_driver import RELAY, Driver

from bazaar_protocol import award, evidence_kinds, frames, kinds, limits, merkle, records
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import Keypair, to_did
from bazaar_protocol.log import recovery_hash
from bazaar_protocol.records import Record
from bazaar_protocol.task import link_to

RECOVERY = Keypair.from_name("recovery of ada")


def prefixes(statuses: str) -> list[str]:
    return [status.partition(":")[0] for status in statuses.split("\n")]


async def found(driver: Driver, kind: str) -> list[Record]:
    page, _ = await driver.store.scan([Filter(kinds=(kind,))], after=0, limit=100)
    return [records.unseal(one.raw) for one in page]


async def restart(driver: Driver) -> Driver:
    return await Driver(store=driver.store, now_ms=driver.now_ms).start()


def fork(trader: Trader) -> Record:
    """Sign an entry, and return another one for its place; the log goes on with the first."""
    before = trader.head
    other = trader.intake(77)
    trader.head = before
    return other


async def equivocate(driver: Driver, trader: Trader) -> None:
    other = fork(trader)
    await driver.publish(trader, trader.intake(78))
    assert prefixes(await driver.publish(trader, other)) == ["fork"]


def omission(author: Trader, relay: Trader, entry: Record) -> Record:
    """Let ``author`` say that ``relay``, new as it is, denied an entry under its receipt."""
    root = merkle.tree_hash([entry.id])
    relay.genesis()
    intake = relay.say(evidence_kinds.Intake(root, 1, 1))
    said = relay.say(evidence_kinds.Statement(entry.author, entry.seq - 1, bytes(32), intake.seq))
    return author.say(evidence_kinds.Omission(said.raw, intake.raw, entry.raw, 0, ()))


async def test_who_was_convicted_begins_nothing_new_and_may_finish(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    await driver.publish(bo, bo.advert("pdf.extract"))
    running = ada.claim_post(RELAY.agent)
    await driver.publish(ada, running)
    granted = await driver.claim(bo, running)
    assert isinstance(granted, Record)
    await driver.publish(bo, bo.accept(granted))
    open_post = ada.claim_post(RELAY.agent, capability="other")
    await driver.publish(ada, open_post)
    await equivocate(driver, bo)
    (proof,) = await found(driver, "proof")
    reason = f"blocked: convicted by equivocation proof {proof.id.hex()}"
    mine = [bo.post(sequencer=bo.agent), bo.bid(open_post), bo.advert("pdf.extract", version=2)]
    for shunned in (driver, await restart(driver)):
        if shunned is not driver:
            await shunned.join(ada, bo, cy)
        assert await shunned.publish(cy, *mine) == "\n".join([reason] * 3)
        refused = await shunned.claim(bo, open_post)
        assert isinstance(refused, frames.Error)
        assert (refused.code, refused.reason) == tuple(reason.split(": "))
        await shunned.send(ada, frames.Query(3, "pdf", "", "", 10))
        assert shunned.said[-1][1].records == ()
        shunned.heard(bo)
        await shunned.publish(ada, ada.claim_post(RELAY.agent))
        assert shunned.heard(bo) == []
        again = cy.say(evidence_kinds.Proof("equivocation", proof.body.records))  # type: ignore[union-attr]
        assert prefixes(await shunned.publish(cy, again, proof)) == ["stale", "duplicate"]
    deliver = bo.deliver(granted)
    assert await shunned.publish(bo, bo.heartbeat(granted), deliver) == "accepted\naccepted"
    assert await shunned.publish(ada, ada.verdict(deliver)) == "accepted"


async def test_a_conviction_that_was_not_kept_is_none(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    advert = bo.advert("pdf.extract")
    await driver.publish(bo, advert)
    other = fork(bo)
    await driver.publish(bo, bo.intake(78))
    driver.fails = "the disk is full"
    assert prefixes(await driver.publish(ada, other)) == ["storage"]
    driver.fails = ""
    await driver.send(ada, frames.Query(3, "pdf", "", "", 10))
    assert driver.said[-1][1].records == (advert.raw,)
    assert await driver.publish(bo, bo.post(sequencer=bo.agent)) == "accepted"
    assert prefixes(await driver.publish(ada, other)) == ["fork"]
    assert prefixes(await driver.publish(bo, bo.post(sequencer=bo.agent))) == ["blocked"]


async def test_one_omission_is_kept_of_each_relay_and_only_a_true_one(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo)
    await driver.subscribe(ada, Filter(kinds=("omission",)))
    true = omission(bo, cy, ada.intake())
    body = true.body
    assert isinstance(body, evidence_kinds.Omission)
    moved = evidence_kinds.Omission(body.statement, body.intake, body.entry, 1, ())
    assert prefixes(await driver.publish(bo, bo.say(moved))) == ["malformed"]
    assert await found(driver, "omission") == []
    assert await driver.publish(bo, true) == "accepted"
    assert driver.heard(ada) == [true]
    for later in (driver, await restart(driver)):
        if later is not driver:
            await later.join(ada, bo)
        again = bo.say(body, bo.now_ms + 5)
        assert prefixes(await later.publish(bo, again, true)) == ["stale", "duplicate"]
        assert await later.publish(bo, cy.advert("a.b")) == (
            f"blocked: convicted by omission proof {true.id.hex()}"
        )
    assert await found(later, "omission") == [true]
    assert await later.store.forget(now_ms=later.now_ms + limits.RECORD_RETENTION_MS) == 0


def succession(ada: Trader, new: Trader, last: Record, *, by: Keypair = RECOVERY) -> Record:
    body = evidence_kinds.Succession(ada.agent, last.seq, last.id, new.agent)
    return records.seal(by, body, time_ms=ada.now_ms)


async def test_an_identity_that_was_succeeded_has_ended(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    genesis = ada.say(kinds.Genesis(recovery_hash(RECOVERY.agent)))
    honest, later = ada.intake(1), ada.intake(2)
    await driver.join(bo)
    ended = succession(ada, cy, honest)
    assert prefixes(await driver.publish(bo, ended)) == ["expired"]  # whose log is not known
    await driver.publish(bo, genesis)
    await driver.join(ada)
    await driver.publish(ada, ada.advert("pdf.extract"))
    await driver.subscribe(bo, Filter(kinds=("succession",)))
    forged = succession(ada, bo, honest, by=bo.keys)
    nobody = succession(ada, ada, honest)
    assert prefixes(await driver.publish(bo, forged, nobody)) == ["signature", "malformed"]
    assert await driver.publish(bo, ended) == "accepted"
    assert driver.heard(bo) == [ended]
    reason = f"blocked: succeeded by {to_did(cy.agent)}"
    stolen = [later, ada.intake(3), ada.post(), ada.advert("a", version=9)]
    await check_ended(driver, bo, reason, *stolen)
    other = succession(ada, bo, genesis)
    assert prefixes(await driver.publish(bo, other, ended)) == ["stale", "duplicate"]
    assert await driver.publish(bo, honest, genesis) == "accepted\nduplicate"
    again = await restart(driver)
    await again.join(bo)
    await check_ended(again, bo, reason, *stolen)
    assert prefixes(await again.publish(bo, other, ended)) == ["stale", "duplicate"]
    assert (await again.store.heads([ada.agent]))[ada.agent].id == honest.id
    assert await again.store.log(ada.agent, first=1, last=9, limit=9) == [genesis.raw, honest.raw]


async def check_ended(driver: Driver, bo: Trader, reason: str, *stolen: Record) -> None:
    assert await driver.publish(bo, *stolen) == "\n".join([reason] * len(stolen))
    await driver.send(bo, frames.Query(3, "pdf", "", "", 10))
    assert driver.said[-1][1].records == ()


async def test_only_the_last_honest_entry_itself_may_still_come(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    genesis = ada.say(kinds.Genesis(recovery_hash(RECOVERY.agent)))
    other = fork(ada)
    honest = ada.intake(1)
    await driver.join(bo)
    await driver.publish(bo, genesis, succession(ada, cy, honest))
    assert prefixes(await driver.publish(bo, other)) == ["blocked"]
    assert await driver.publish(bo, honest) == "accepted"


async def test_what_the_relay_had_before_a_succession_stays(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    genesis = ada.say(kinds.Genesis(recovery_hash(RECOVERY.agent)))
    later = [ada.intake(number) for number in range(3)]
    await driver.join(bo)
    await driver.publish(bo, genesis, *later)
    assert await driver.publish(bo, succession(ada, cy, genesis), ada.intake(9)) == (
        f"accepted\nblocked: succeeded by {to_did(cy.agent)}"
    )
    assert (await driver.store.heads([ada.agent]))[ada.agent].id == later[-1].id


LEASE = kinds.Lease(2_000, 30_000, 6_000, 3)


async def running(
    driver: Driver, ada: Trader, bo: Trader, *, relays: tuple[bytes, ...] = (RELAY.agent,)
) -> tuple[Record, Record]:
    """Let bo work for ada, who sequences it herself; return award and accept."""
    post = ada.post(mode="direct", worker=bo.agent, bid_window_ms=0, lease=LEASE)
    granted = ada.say(award.draft(post, bo.agent, epoch=1, price=100, relays=relays))  # type: ignore[arg-type]
    accept = bo.accept(granted)
    assert await driver.publish(ada, post, granted, accept) == "\n".join(["accepted"] * 3)
    return granted, accept


def breach(ada: Trader, accept: Record, deadline: str = "heartbeat") -> Record:
    body = accept.body
    assert isinstance(body, kinds.Accept)
    return ada.say(kinds.Breach(body.task, link_to(accept), body.epoch, deadline))  # type: ignore[arg-type]


async def test_a_witness_confirms_a_silence_that_it_heard_itself(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    _, accept = await running(driver, ada, bo)
    await driver.tick(6_000)
    ended = breach(ada, accept)
    driver.heard(ada)
    driver.heard(bo)
    assert await driver.publish(ada, ended, ended) == "accepted\nduplicate"
    (silence,) = await found(driver, "silence")
    assert (silence.author, silence.seq) == (RELAY.agent, 2)
    assert silence.body == evidence_kinds.Silence(ended.body.task, link_to(ended), 1)  # type: ignore[union-attr]
    assert driver.heard(ada) == [silence]
    assert driver.heard(bo) == [ended, silence]
    assert driver.heard(cy) == []
    of_task = await driver.store.task(silence.body.task, after=0, limit=9)  # type: ignore[arg-type]
    assert of_task[-1].raw == silence.raw


@pytest.mark.parametrize(
    "what", ["too early", "no witness", "heartbeat", "two heartbeats", "deliver", "restarted"]
)
async def test_a_witness_says_nothing_that_it_does_not_know(
    driver: Driver, ada: Trader, bo: Trader, what: str
) -> None:
    await driver.join(ada, bo)
    relays = () if what == "no witness" else (RELAY.agent,)
    granted, accept = await running(driver, ada, bo, relays=relays)
    beats = [bo.heartbeat(granted, bo.now_ms + number) for number in range(2)]
    await driver.tick(5_900 if what != "too early" else 6_000 - 6_000 // 32 - 1)
    match what:
        case "heartbeat":
            await driver.publish(bo, beats[0])
        case "two heartbeats":
            await driver.publish(bo, beats[0])
            await driver.tick(100)
            assert prefixes(await driver.publish(bo, beats[1])) == ["stale"]
            await driver.tick(5_700)
        case "deliver":
            await driver.publish(bo, bo.deliver(granted))
        case "restarted":
            driver = await restart(driver)
            await driver.join(ada, bo)
        case _:
            pass
    await driver.tick(100 if what != "too early" else 0)
    assert await driver.publish(ada, breach(ada, accept)) == "accepted"
    await driver.tick(20_000)
    assert await found(driver, "silence") == []


@pytest.mark.parametrize("what", ["nothing", "a late heartbeat", "a late result", "a full disk"])
async def test_a_witness_whose_clock_is_behind_waits_for_its_own_deadline(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader, what: str
) -> None:
    await driver.join(ada, bo, cy)
    granted, accept = await running(driver, ada, bo)
    await driver.tick(5_900)
    ended = breach(ada, accept)
    await driver.publish(ada, ended)
    match what:
        case "a late heartbeat":
            assert prefixes(await driver.publish(bo, bo.heartbeat(granted))) == ["stale"]
        case "a late result":
            assert prefixes(await driver.publish(bo, bo.deliver(granted))) == ["stale"]
        case _:
            late = cy.say(kinds.Heartbeat(granted.body.task, granted.id, 1, 0, ""))  # type: ignore[union-attr]
            await driver.publish(cy, late)  # which is no sign of bo's life
    await driver.tick(99)
    assert await found(driver, "silence") == []
    driver.fails = "the disk is full" if what == "a full disk" else ""
    await driver.tick(1)
    driver.fails = ""
    await driver.tick(limits.WAKE_MS)
    said = [one.body.breach for one in await found(driver, "silence")]  # type: ignore[union-attr]
    assert said == ([] if what.startswith("a late") else [link_to(ended)])


@pytest.mark.parametrize(("beats", "expected"), [(0, 1), (1, 0)])
async def test_a_worker_that_still_sent_heartbeats_was_not_silent(
    driver: Driver, ada: Trader, bo: Trader, beats: int, expected: int
) -> None:
    await driver.join(ada, bo)
    granted, accept = await running(driver, ada, bo)
    await driver.tick(29_000)
    for number in range(beats):
        await driver.publish(bo, bo.heartbeat(granted, bo.now_ms + number))
    await driver.tick(1_000)
    await driver.publish(ada, breach(ada, accept, "start_to_close"))
    await driver.tick(6_000)  # in which a worker that was told is right to send nothing
    assert len(await found(driver, "silence")) == expected


async def test_a_task_that_ran_too_short_here_is_not_known_to_be_over(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    _, accept = await running(driver, ada, bo)
    await driver.tick(29_000)
    await driver.publish(ada, breach(ada, accept, "start_to_close"))
    await driver.tick(6_000)
    assert await found(driver, "silence") == []


async def test_disputes_and_reveals_reach_whom_they_concern(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    granted, _ = await running(driver, ada, bo)
    delivered = bo.deliver(granted)
    await driver.publish(bo, delivered)
    verdict = ada.verdict(delivered)
    task = granted.body.task  # type: ignore[union-attr]
    reveal = ada.say(evidence_kinds.Reveal(task, link_to(delivered), bytes(32), bytes(32)))
    await driver.publish(ada, verdict, reveal)
    dispute = bo.say(evidence_kinds.Dispute(task, link_to(verdict), 1, "it was right"))
    driver.heard(ada)
    await driver.publish(bo, dispute)
    assert driver.heard(ada) == [dispute]
    assert driver.heard(bo)[-2:] == [verdict, reveal]
    assert driver.heard(cy) == []
    # A relay that does not know the task still tells those whom they name.
    blank = await Driver().start()
    await blank.join(ada, bo)
    await blank.publish(ada, *[records.unseal(raw) for raw in await driver.store.log(
        ada.agent, first=1, last=9, limit=9)])  # fmt: skip
    await blank.publish(bo, *[records.unseal(raw) for raw in await driver.store.log(
        bo.agent, first=1, last=9, limit=9)])  # fmt: skip
    assert blank.heard(bo)[-2:] == [verdict, reveal]
    assert blank.heard(ada)[-1] == dispute
