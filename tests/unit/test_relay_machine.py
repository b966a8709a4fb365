"""The relay's machine: what becomes of a record, by its status and by who hears of it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.market_records import NOW_MS, Trader
from tests.relay_driver import RELAY, Driver

from bazaar_protocol import evidence_kinds, frames, kinds, limits, records
from bazaar_protocol.frames import Filter
from bazaar_protocol.log import check_proof
from bazaar_protocol.records import Record
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.events import (
    Commit,
    Committed,
    Disconnected,
    Drop,
    Received,
    Reply,
    Verified,
    Verify,
)


async def test_a_new_relay_begins_its_log_and_an_old_one_goes_on(driver: Driver) -> None:
    heads = await driver.store.heads([RELAY.agent])
    assert heads[RELAY.agent].seq == 1
    again = await Driver(store=driver.store).start()
    assert await driver.store.heads([RELAY.agent]) == heads
    assert again.commits == []


async def test_nothing_is_acknowledged_before_the_commit(driver: Driver, ada: Trader) -> None:
    await driver.join(ada)
    record = ada.intake()
    machine, link = driver.machine, driver.links[ada.agent]
    (verify,) = machine.handle(Received(link, frames.Publish(7, (record.raw,))), driver.now_ms)
    assert isinstance(verify, Verify)
    (commit,) = machine.handle(Verified(verify.work, [record]), driver.now_ms)
    assert isinstance(commit, Commit)
    # A duplicate of what is not durable yet waits for the same commit.
    twice = machine.handle(Received(link, frames.Publish(8, (record.raw,))), driver.now_ms)
    assert isinstance(twice[0], Verify)
    assert machine.handle(Verified(twice[0].work, [record]), driver.now_ms) == []
    kept = await driver.store.commit(commit.batch)
    assert machine.handle(Committed(kept), driver.now_ms) == [
        Reply(link, frames.Published(7, ("accepted",))),
        Reply(link, frames.Published(8, ("duplicate",))),
    ]


async def test_what_comes_while_a_commit_runs_is_the_next_group(
    driver: Driver, ada: Trader
) -> None:
    await driver.join(ada)
    machine, link = driver.machine, driver.links[ada.agent]
    waiting: list[Commit] = []
    for number in range(5):
        record = ada.intake(number)
        (verify,) = machine.handle(
            Received(link, frames.Publish(number, (record.raw,))), driver.now_ms
        )
        assert isinstance(verify, Verify)
        answers = machine.handle(Verified(verify.work, [record]), driver.now_ms)
        waiting += [one for one in answers if isinstance(one, Commit)]
    assert [len(commit.batch.records) for commit in waiting] == [1]
    kept = await driver.store.commit(waiting[0].batch)
    effects = machine.handle(Committed(kept), driver.now_ms)
    assert [len(one.batch.records) for one in effects if isinstance(one, Commit)] == [4]


async def test_statuses_say_what_is_wrong(driver: Driver, ada: Trader, bo: Trader) -> None:
    await driver.join(ada)
    first, second, third = ada.intake(1), ada.intake(2), ada.intake(3)
    assert await driver.publish(ada, first) == "accepted"
    assert await driver.publish(ada, first) == "duplicate"
    assert await driver.publish(ada, third) == "gap: have 2"
    assert await driver.publish(ada, second, third) == "accepted\naccepted"
    damaged = bytearray(third.raw)
    damaged[-1] ^= 1
    await driver.send(ada, frames.Publish(1, (bytes(damaged), b"junk", bytes(70_000))))
    _, answer = driver.said[-1]
    prefixes = [status.partition(":")[0] for status in answer.statuses]
    assert prefixes == ["signature", "malformed", "too-large"]
    too_old = bo.say(kinds.Decline(bytes(32), 0, "busy", 0), NOW_MS - limits.RECORD_AGE_MS_MAX - 1)
    too_new = bo.say(kinds.Decline(bytes(32), 0, "busy", 0), NOW_MS + 300_000)
    of_nothing = bo.say(kinds.Decline(bytes(32), 0, "busy", 0))
    statuses = await driver.publish(ada, too_old, too_new, of_nothing)
    assert [status.partition(":")[0] for status in statuses.split("\n")] == ["expired"] * 3
    contradictory = ada.post(worker=bo.agent)
    assert (await driver.publish(ada, contradictory)).startswith("malformed: ")
    alien = records.seal(RELAY, kinds.Decline(bytes(32), 0, "busy", 0), time_ms=NOW_MS)
    assert (await driver.publish(ada, alien)).startswith("blocked: ")


async def test_blocked_and_greedy_agents_are_told_so(ada: Trader, bo: Trader) -> None:
    policy = Policy(records_per_s=2, blocked=frozenset({bo.agent}))
    driver = await Driver(policy=policy).start()
    await driver.join(ada)
    assert (await driver.publish(ada, bo.genesis())).startswith("blocked: ")
    await driver.publish(ada, ada.intake(), ada.intake())
    assert (await driver.publish(ada, ada.intake())).startswith("rate-limited: ")
    await driver.tick(1_000)
    assert await driver.publish(ada, ada.intake()) == "gap: have 3"
    await driver.handle(Received(driver.links[ada.agent], frames.Hello(1, "", ())))
    assert isinstance(driver.effects[-1], Drop)


async def test_a_fork_is_proved_once_and_told_to_who_asks_for_proofs(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    await driver.subscribe(bo, Filter(kinds=("proof",)))
    before = ada.head
    honest = ada.intake(1)
    ada.head = before
    other, another = ada.intake(2), None
    ada.head = before
    another = ada.intake(3)
    assert await driver.publish(ada, honest) == "accepted"
    for lie in (other, another):
        assert (await driver.publish(bo, lie)).startswith("fork: ")
    (proof,) = driver.heard(bo)
    assert proof.author == RELAY.agent
    assert isinstance(proof.body, evidence_kinds.Proof)
    assert check_proof(proof.body) == ada.agent
    assert await driver.publish(bo, proof) == "duplicate"
    forged = bo.say(evidence_kinds.Proof("equivocation", (honest.raw, honest.raw)))
    assert (await driver.publish(bo, forged)).startswith("malformed: ")


async def test_a_newer_advert_replaces_and_an_older_one_is_stale(
    driver: Driver, ada: Trader
) -> None:
    await driver.join(ada)
    first, second = ada.advert("a.b"), ada.advert("c.d", version=2)
    assert await driver.publish(ada, second) == "accepted"
    assert await driver.publish(ada, first) == "stale: version 2 is known"
    assert await driver.publish(ada, ada.advert("a", version=2)) == "stale: version 2 is known"
    assert await found(driver, ada, "c") == [second]
    await driver.tick(3_600_001)
    assert await found(driver, ada, "c") == []
    # Nor does it come back once its time is over, whoever still has a copy.
    assert (await driver.publish(ada, first)).startswith("stale: ")
    restarted = await Driver(store=driver.store, now_ms=driver.now_ms + 7_200_000).start()
    await restarted.join(ada)
    assert (await restarted.publish(ada, first)).startswith("expired: ")


async def found(driver: Driver, trader: Trader, capability: str) -> list[Record]:
    await driver.send(trader, frames.Query(3, capability, "", "", 10))
    _, page = driver.said[-1]
    assert isinstance(page, frames.Adverts)
    return [records.unseal(raw) for raw in page.records]


async def test_an_auction_goes_to_as_many_agents_as_it_allows_bidders(driver: Driver) -> None:
    ada = Trader.named("ada")
    workers = [Trader.named(f"worker {number}") for number in range(20)]
    await driver.join(ada, *workers)
    for number, worker in enumerate(workers):
        names = ("pdf.extract.tables",) if number % 2 else ("text.count",)
        await driver.publish(worker, worker.advert(*names, load=4 if number == 1 else 0))
    posts = [ada.post(capability="pdf.extract", bidders_max=4) for _ in range(2)]
    told = []
    for post in posts:
        await driver.publish(ada, post)
        told.append([place for place, one in enumerate(workers) if driver.heard(one) == [post]])
    # Those with free slots first, and by turns: the second round goes to others.
    assert told == [[3, 5, 7, 9], [11, 13, 15, 17]]
    late = Trader.named("late")
    await driver.join(late)
    await driver.publish(late, late.advert("pdf.extract"))
    assert driver.heard(late) == []  # enough have been asked already


async def test_adverts_of_agents_that_do_not_listen_keep_no_post_from_one_that_does(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    ghosts = [Trader.named(f"ghost {number}") for number in range(20)]
    await driver.publish(ada, *(ghost.advert("pdf.extract") for ghost in ghosts))
    await driver.publish(bo, bo.advert("pdf.extract", load=4))
    for post in (ada.post(capability="pdf.extract", bidders_max=4), ada.claim_post(RELAY.agent)):
        await driver.publish(ada, post)
        assert driver.heard(bo) == [post]
    await driver.handle(Disconnected(driver.links[bo.agent]))
    await driver.publish(ada, ada.post(capability="pdf.extract", bidders_max=4))
    assert len(driver.commits[-1].batch.records[0].audience) == 4  # they may come back in time
    assert bo.agent not in driver.commits[-1].batch.records[0].audience


async def test_a_claim_wakes_one_worker_at_a_time(driver: Driver, ada: Trader) -> None:
    bo, cy, dee = (Trader.named(name) for name in ("bo", "cy", "dee"))
    await driver.join(ada, bo, cy, dee)
    for worker in (bo, cy, dee):
        await driver.publish(worker, worker.advert("pdf.extract"))
    post = ada.claim_post(RELAY.agent)
    await driver.publish(ada, post)
    assert [driver.heard(one) for one in (bo, cy, dee)] == [[post], [], []]
    await driver.publish(bo, bo.decline(post))
    assert [driver.heard(one) for one in (bo, cy, dee)] == [[], [post], []]
    await driver.tick(limits.WAKE_MS - 1)
    assert driver.heard(dee) == []
    await driver.tick(1)
    assert driver.heard(dee) == [post]
    await driver.tick(10 * limits.WAKE_MS)
    assert [driver.heard(one) for one in (bo, cy, dee)] == [[], [], []]
    newcomer = Trader.named("newcomer")
    await driver.join(newcomer)
    await driver.publish(newcomer, newcomer.advert("pdf.extract"))
    assert driver.heard(newcomer) == [post]


async def test_claims_are_granted_once_and_each_time_with_the_next_epoch(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    post = ada.claim_post(RELAY.agent, lease=kinds.Lease(2_000, 30_000, 6_000, 3))
    await driver.publish(ada, post)
    first = granted(await driver.claim(bo, post), epoch=1, worker=bo)
    assert await driver.claim(bo, post) == first
    await driver.tick(1_999)
    assert refusal(await driver.claim(cy, post)) == "taken"
    assert refusal(await driver.claim(ada, post)) == "refused"
    assert refusal(await driver.claim(cy, ada.advert("a"))) == "not-found"
    await driver.tick(1)  # not accepted in time, which costs nothing until another wants it
    assert await driver.claim(bo, post) == first
    driver.heard(bo)
    second = granted(await driver.claim(cy, post), epoch=2, worker=cy)
    assert driver.heard(bo) == [second]  # it is told that it is too late
    assert (await driver.publish(bo, bo.accept(first))).startswith("stale: epoch 1 is over")
    assert await driver.publish(cy, cy.accept(second)) == "accepted"
    await driver.tick(6_000)  # no heartbeat
    third = granted(await driver.claim(bo, post), epoch=3, worker=bo)
    assert await driver.publish(bo, bo.accept(third)) == "accepted"
    stored = await driver.store.task(post.id, after=0, limit=100)
    said = [records.unseal(one.raw).kind for one in stored]
    assert said == ["post", "award", "award", "accept", "accept", "breach", "award", "accept"]


def granted(answer: Record | frames.Error, *, epoch: int, worker: Trader) -> Record:
    assert isinstance(answer, Record)
    assert isinstance(answer.body, kinds.Award)
    assert (answer.author, answer.body.epoch) == (RELAY.agent, epoch)
    assert answer.body.worker == worker.agent
    return answer


def refusal(answer: Record | frames.Error) -> str:
    assert isinstance(answer, frames.Error)
    return answer.code


async def test_a_stale_entry_is_kept_in_silence_and_a_stale_heartbeat_refused(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    post = ada.post(mode="claim", bid_window_ms=0)
    await driver.publish(ada, post)
    first = ada.award(post, bo.agent)
    await driver.publish(ada, first, ada.award(post, cy.agent, epoch=2))
    await driver.subscribe(cy, Filter(authors=(bo.agent,)))
    driver.heard(ada)
    driver.heard(cy)
    late = bo.accept(first)
    assert (await driver.publish(bo, late)).startswith("stale: ")
    assert (await driver.publish(bo, bo.heartbeat(first))).startswith("stale: ")
    assert driver.heard(ada) == []
    assert driver.heard(cy) == []
    assert (await driver.store.heads([bo.agent]))[bo.agent].id == late.id
    stored = [one.raw for one in await driver.store.task(post.id, after=0, limit=9)]
    assert late.raw in stored
    assert len(stored) == 4


async def test_each_record_of_a_trade_reaches_those_it_concerns(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo, cy)
    post = ada.post(mode="direct", worker=bo.agent, bid_window_ms=0)
    await driver.publish(ada, post)
    award = ada.award(post, bo.agent)
    await driver.publish(ada, award)
    accept, beat, deliver = bo.accept(award), bo.heartbeat(award), bo.deliver(award)
    await driver.publish(bo, accept, beat, deliver)
    verdict = ada.verdict(deliver)
    await driver.publish(ada, verdict)
    assert driver.heard(ada) == [accept, beat, deliver]
    assert driver.heard(bo) == [post, award, verdict]
    assert driver.heard(cy) == []


async def test_a_failed_commit_is_answered_forgotten_and_survived(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    driver.fails = "the disk is full"
    post = ada.claim_post(RELAY.agent)
    entries = [ada.intake(1), ada.intake(2)]
    everything = [*entries, ada.advert("pdf.extract"), post]
    assert await driver.publish(ada, *everything) == "\n".join(["storage: the disk is full"] * 4)
    assert refusal(await driver.claim(bo, post)) == "not-found"
    assert await found(driver, ada, "pdf") == []
    driver.fails = ""
    assert await driver.publish(ada, *everything) == "\n".join(["accepted"] * 4)
    driver.fails = "the disk is full"
    assert refusal(await driver.claim(bo, post)) == "storage"
    await driver.send(ada, frames.Mail(5, bo.agent, b"x"))
    assert driver.said[-1][1] == frames.Error(5, "storage", "the disk is full")
    driver.fails = ""
    award = granted(await driver.claim(bo, post), epoch=1, worker=bo)
    assert award.seq == 2  # no hole, and no fork, in the relay's own log


async def test_a_restart_resumes_sequenced_tasks_and_open_posts(
    driver: Driver, ada: Trader, bo: Trader, cy: Trader
) -> None:
    await driver.join(ada, bo)
    running, waiting = ada.claim_post(RELAY.agent), ada.claim_post(RELAY.agent)
    await driver.publish(ada, running, waiting)
    award = granted(await driver.claim(bo, running), epoch=1, worker=bo)
    await driver.publish(bo, bo.accept(award))
    again = await Driver(store=driver.store, now_ms=driver.now_ms + 1_000).start()
    await again.join(ada, cy)
    await again.publish(cy, cy.advert("pdf.extract"))
    assert again.heard(cy) == [waiting]
    assert refusal(await again.claim(cy, running)) == "taken"
    await again.tick(6_000)  # a whole lease from the restart on, and no heartbeat
    breach = again.heard(ada)[-1]
    assert breach.kind == "breach"
    granted(await again.claim(cy, running), epoch=2, worker=cy)
    # An old post is no new task, even if nothing of it is remembered.
    assert await again.publish(ada, waiting) == "duplicate"


async def scenario() -> list[str]:
    """Return all that a machine does while a small market goes about its business."""
    driver = await Driver().start()
    traders = [Trader.named(f"agent {number}") for number in range(12)]
    await driver.join(*traders)
    for trader in traders[1:]:
        await driver.publish(trader, trader.advert("pdf.extract", words="reads many tables"))
    await driver.publish(traders[0], traders[0].post(bidders_max=4))
    post = traders[0].claim_post(RELAY.agent)
    await driver.publish(traders[0], post)
    await driver.tick(1_500)
    await driver.claim(traders[3], post)
    await found(driver, traders[0], "pdf")
    return [repr(effect) for effect in driver.effects]


def test_hash_order_decides_nothing() -> None:
    code = (
        "import asyncio, tests.unit.test_relay_machine as here\n"
        "print(*asyncio.run(here.scenario()), sep='\\n')"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0]
    assert runs[0] == runs[1]
