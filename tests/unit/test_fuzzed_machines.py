"""The pure machines among strangers: any record, letter or moment, and only errors on purpose."""

import random
from typing import get_args

import pytest
from tests.fuzzing import Fuzz
from tests.market import Market
from tests.market_records import Trader
from tests.relay_driver import Driver

from bazaar_node.market.events import (
    AgentEvent,
    Arrived,
    InputReady,
    LetterArrived,
    RefusedByRelay,
    Ticked,
)
from bazaar_protocol import letters, limits, records
from bazaar_protocol.errors import BazaarError, RemoteError
from bazaar_protocol.log import check_segment

CAPABILITY = "pdf.extract"
EVENTS = 3_000
FRESH = random.SystemRandom().randrange(2**32)

# Fixed ids, since the processes that share the tests have to collect the same ones.
each_seed = pytest.mark.parametrize("seed", [1, 2, FRESH], ids=["1", "2", "fresh"])


def event(fuzz: Fuzz, market: Market) -> AgentEvent | None:
    """Return something that may happen to an agent; None where its shell refuses the bytes."""
    choice = fuzz.rng.random()
    if choice < 0.70:
        try:
            return Arrived(records.unseal(fuzz.record()))
        except RemoteError:
            return None
    if choice < 0.80:
        kind = fuzz.rng.choice(get_args(letters.Letter))
        return LetterArrived(fuzz.agent(), fuzz.struct(kind))
    if choice < 0.90:
        market.now_ms += fuzz.rng.choice((0, 1, 100, 5_000))
        fuzz.now_ms = market.now_ms
        return Ticked()
    if choice < 0.95:
        return RefusedByRelay(records.unseal(fuzz.rng.choice(fuzz.raws)), "stale: so it says")
    return InputReady(records.RecordId(fuzz.id()), 1)


@each_seed
def test_an_agent_takes_anything_and_stays_small(seed: int) -> None:
    market = Market()
    ada = market.add("ada", slots=4, capability=CAPABILITY, price=1)
    fuzz = Fuzz(seed, market.now_ms, [ada.keys.agent], truths=0.8)
    refused = 0
    for number in range(EVENTS):
        if number % 100 == 0:
            fuzz.ids.append(market.post("ada", capability=CAPABILITY, price_max=90, price=None))
        happened = event(fuzz, market)
        if happened is None:
            continue
        try:
            market.tell("ada", happened)
        except BazaarError:
            refused += 1
    assert 0 < refused < EVENTS
    check_segment([record.raw for record in ada.log])  # what it signed is one log without holes
    ledger = ada.agent._ledger
    assert len(ledger._live) <= limits.TASKS_WORKED_MAX + EVENTS // 100
    assert len(ledger._timers) <= 2 * len(ledger._live) + 128
    assert ada.agent.load <= 4


@each_seed
async def test_a_relay_takes_anything_and_answers_everything(seed: int) -> None:
    driver = await Driver().start()
    eve, ada = Trader.named("eve"), Trader.named("ada")
    await driver.join(eve, ada)
    fuzz = Fuzz(seed, driver.now_ms, [ada.agent], truths=0.5)
    for _ in range(EVENTS // 10):
        await driver.send(eve, fuzz.request())
        if fuzz.rng.random() < 0.1:
            await driver.tick(fuzz.rng.choice((1, 1_000, 100_000)))
            fuzz.now_ms = driver.now_ms
        driver.said.clear()
        driver.effects.clear()
        driver.commits.clear()
    assert driver.machine.is_idle
    assert await driver.publish(ada, ada.intake()) == "accepted"
