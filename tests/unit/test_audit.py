"""An audit finds a cheat, and blames no honest trade for what its reader cannot know."""

from collections.abc import Mapping, Sequence

from tests import market as markets
from tests.log_relays import extend, genesis, reset
from tests.market import Market
from tests.routed_market import RoutedMarket
from tests.strategies import ADA, BO

from bazaar_node.audit import FetchLog, audit_agent, audit_task
from bazaar_node.market.events import (
    Began,
    Cancelled,
    Judged,
    Observed,
    Opened,
    WorkFailed,
)
from bazaar_node.service import AuditReport
from bazaar_node.storage.history import Row
from bazaar_protocol import award
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import BidTerms
from bazaar_protocol.records import Record, RecordId, seal
from bazaar_protocol.task import State

CAPABILITY = "table.extract"
Logs = Mapping[AgentId, Sequence[Record]]


def market_of_three() -> Market:
    market = Market()
    market.add("ada")
    market.add("bo", capability=CAPABILITY, price=40)
    market.add("cy", capability=CAPABILITY, price=35)
    return market


def rows(trader: markets.Trader, task: RecordId) -> list[Row]:
    found: list[Row] = []
    for change in trader.changes:
        match change:
            case Began(post, _, at_ms) if post.id == task:
                found.append(Row(at_ms, "post", post.author, 0, post, True, ""))
            case Observed(id_, at_ms, record, state) if id_ == task:
                author = AgentId(b"") if record is None else record.author
                what = state if record is None else record.kind
                found.append(Row(at_ms, what, author, 0, record, True, ""))
            case _:
                pass
    return found


async def audited(
    market: Market, name: str, task: RecordId, *, relays: Mapping[str, Logs] | None = None,
    history: list[Row] | None = None,
) -> AuditReport:  # fmt: skip
    trader = market.traders[name]
    openings: dict[RecordId, tuple[bytes, BidTerms]] = {
        change.bid: (change.salt, change.terms)
        for change in trader.changes
        if isinstance(change, Opened) and name == "ada"
    }
    whole = {other.keys.agent: other.log for other in market.traders.values()}
    sources = {"relay": whole} if relays is None else relays

    def source(logs: Logs) -> FetchLog:
        async def fetch(author: AgentId, first: int, last: int) -> list[bytes]:
            return [record.raw for record in logs.get(author, ())[first - 1 : last]]

        return fetch

    return await audit_task(
        task,
        rows(trader, task) if history is None else history,
        openings,
        ours=trader.keys.agent,
        logs={where: source(logs) for where, logs in sources.items()},
    )


def traded(market: Market) -> RecordId:
    task = market.post("ada", capability=CAPABILITY, price_max=100, bid_window_ms=500)
    market.wait(1)
    market.finish("cy", task)
    deliver = market.task("ada", task).deliver
    assert deliver is not None
    market.tell("ada", Judged(task, deliver.id, True, ""))
    market.settle()
    return task


async def test_an_honest_auction_is_sound_to_all_who_took_part() -> None:
    market = market_of_three()
    task = traded(market)
    assert market.task("cy", task).state is State.ACCEPTED
    cy = market.traders["cy"]
    of_others = [row for row in rows(cy, task) if row.what == "bid" and row.agent != cy.keys.agent]
    seen = [
        row for row in rows(cy, task) if row not in of_others
    ]  # relays route no bids to bidders
    for name, history in (("ada", None), ("cy", seen)):
        report = await audited(market, name, task, history=history)
        assert report.is_sound, (name, report.checks)


async def test_breach_withdrawal_lapse_and_cancellation_are_sound() -> None:
    market = market_of_three()
    broken = market.post(
        "ada", capability=CAPABILITY, price_max=100, bid_window_ms=500, heartbeat_timeout_ms=6000
    )
    market.wait(1)
    market.traders["cy"].is_cut_off = True
    market.wait(10)
    assert market.task("ada", broken).epoch == 2
    market.tell("bo", WorkFailed(broken, 2, "cannot"))
    market.settle()
    market.tell("ada", Cancelled(broken, "enough"))
    lapsed = market.post("ada", capability=CAPABILITY, price=50, verdict_within_ms=1000)
    market.finish("bo", lapsed)
    market.wait(5)
    assert market.task("ada", lapsed).state is State.LAPSED
    for task in (broken, lapsed):
        for name in ("ada", "bo"):
            report = await audited(market, name, task)
            assert report.is_sound, (name, report.checks)


async def test_a_relay_that_does_not_know_somebody_is_no_evidence_against_them() -> None:
    market = market_of_three()
    task = traded(market)
    whole = {one.keys.agent: one.log for one in market.traders.values()}
    ada = market.traders["ada"].keys.agent
    elsewhere = {ada: whole[ada]}
    report = await audited(market, "ada", task, relays={"one": whole, "two": elsewhere})
    assert report.is_sound, report.checks
    report = await audited(market, "ada", task, relays={"two": elsewhere})
    assert not report.is_sound  # nobody else has what the worker is said to have signed


async def test_a_relay_with_another_entry_in_the_same_place_is_noticed() -> None:
    market = market_of_three()
    task = traded(market)
    whole = {one.keys.agent: one.log for one in market.traders.values()}
    cy = market.traders["cy"]
    genesis = cy.log[0]
    forged = seal(cy.keys, cy.log[1].body, time_ms=5, seq=2, prev=genesis.id)  # type: ignore[arg-type]
    lying = {**whole, cy.keys.agent: [genesis, forged]}
    report = await audited(market, "ada", task, relays={"one": whole, "two": lying})
    assert not report.is_sound


async def test_an_auction_that_does_not_say_what_it_weighed_is_not_sound() -> None:
    market = market_of_three()
    task = market.post("ada", capability=CAPABILITY, price_max=100, bid_window_ms=500)
    ada = market.traders["ada"]
    seen = market.task("ada", task)
    dear = next(b.record for b in seen.bids if b.record.author == market.traders["bo"].keys.agent)
    body = award.draft(seen.post, dear.author, epoch=1, price=40, bid=dear.id)
    cheat = seal(ada.keys, body, time_ms=market.now_ms, seq=2, prev=ada.log[0].id)
    history = [
        *rows(ada, task), Row(market.now_ms, "award", ada.keys.agent, 1, cheat, True, "")
    ]  # fmt: skip
    logs = {ada.keys.agent: [ada.log[0], cheat]}
    report = await audited(market, "ada", task, relays={"relay": logs}, history=history)
    assert not report.is_sound


async def test_a_store_with_another_post_in_its_place_is_not_sound() -> None:
    market = market_of_three()
    task, other = traded(market), traded(market)
    report = await audited(market, "ada", task, history=rows(market.traders["ada"], other))
    assert not report.is_sound


async def test_a_store_without_the_post_or_with_a_bad_one_is_not_sound() -> None:
    market = market_of_three()
    task = traded(market)
    whole = rows(market.traders["ada"], task)
    assert not (await audited(market, "ada", task, history=whole[3:])).is_sound
    assert not (await audited(market, "ada", task, history=[])).is_sound


async def test_a_store_that_lost_the_verdict_is_not_sound() -> None:
    market = market_of_three()
    task = traded(market)
    whole = rows(market.traders["cy"], task)
    assert whole[-1].what == "verdict"
    report = await audited(market, "cy", task, history=whole[:-1])
    assert not report.is_sound


async def test_an_award_over_an_attempt_is_a_cheat_of_who_knew_of_it_alone() -> None:
    market = RoutedMarket()
    market.add("ada")
    market.add("bo", capability=CAPABILITY, price=40)
    market.add("cy", capability=CAPABILITY, price=35)
    task = market.post(
        "ada", capability=CAPABILITY, price_max=100, bid_window_ms=500, schedule_to_start_ms=2_000
    )
    market.cut_off("cy")
    market.wait(1)
    market.cut_off("ada", unnoticed=True)
    market.come_back("cy")
    market.wait(3)
    market.come_back("ada")
    for name in ("ada", "cy"):  # each heard of the accept and the next award in another order
        assert market.task(name, task).epoch == 2
        assert (await audited(market, name, task)).is_sound
    accept = next(row for row in rows(market.traders["cy"], task) if row.what == "accept")
    heard = rows(market.traders["ada"], task)
    heard.insert([row.what for row in heard].index("award") + 1, accept)
    knew = await audited(market, "ada", task, history=heard)
    assert [check.what for check in knew.checks if not check.ok] == [
        "epoch 2 began while 1 was live to us"
    ]


def source_of(log: Sequence[Record]) -> FetchLog:
    async def fetch(author: AgentId, first: int, last: int) -> list[bytes]:
        assert author == ADA.agent
        return [record.raw for record in log[first - 1 : last]]

    return fetch


async def test_a_fork_is_a_fault_and_a_reset_is_none() -> None:
    log = extend(ADA, [genesis(ADA, BO)], 4)
    for branch, is_ok in ((extend(ADA, log, 3, "other"), False), (reset(ADA, log), True)):
        sources = {
            "here": source_of(extend(ADA, log, 5)),
            "there": source_of(extend(ADA, branch, 2)),
            "behind": source_of(log[:3]),
        }
        report = await audit_agent(ADA.agent, sources)
        (found,) = [check for check in report.checks if "differs" in check.what]
        assert found.what.startswith("entry 6 differs between here and there")
        assert (found.ok, report.is_sound) == (is_ok, is_ok)
