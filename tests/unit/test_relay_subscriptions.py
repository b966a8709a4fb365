"""Subscriptions by kind, which every node has: they cost only records of these kinds anything."""

import pytest
from tests.market_records import Trader

from bazaar_protocol.frames import Filter
from bazaar_relay.machine import subscriptions
from bazaar_relay.machine.events import ConnectionId
from bazaar_relay.machine.origins import Origins
from bazaar_relay.machine.subscriptions import Subscriptions
from bazaar_relay.storage import matching
from bazaar_relay.storage.store import Stored


def test_a_record_of_a_kind_reaches_all_who_want_it_and_others_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada, bo = Trader.named("ada"), Trader.named("bo")
    looked: list[Filter] = []
    matches = matching.matches

    def counting(one: Filter, *rest: object) -> bool:
        looked.append(one)
        return matches(one, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(subscriptions, "matches", counting)
    wanted = Subscriptions(Origins())
    for number, trader in enumerate((ada, bo), start=1):
        filters = Filter(to=(trader.agent,)), Filter(kinds=("intake", "genesis"))
        wanted.set(ConnectionId(number), filters)
    genesis, advert = ada.genesis(), ada.advert("a.b")
    wanted.publish(Stored(1, advert.raw), advert, ())
    assert (wanted.collect(), looked) == ([], [])
    wanted.publish(Stored(2, genesis.raw), genesis, ())
    assert [one.connections for one in wanted.collect()] == [(1,), (2,)]
    wanted.remove(ConnectionId(1))
    wanted.publish(Stored(3, genesis.raw), genesis, (ada.agent,))
    assert [one.connections for one in wanted.collect()] == [(2,)]
