"""What a post, a bid and an award may say, and how they have to fit together."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from tests.strategies import ADA, BO, CY, DEE
from tests.trades import Scribe

from bazaar_protocol import kinds
from bazaar_protocol.errors import IllegalTransition, MalformedRecord
from bazaar_protocol.records import Record
from bazaar_protocol.task import State, Task, open_task, step

NOW = 100_000
Break = Callable[[Scribe, Task], Record]


def opened(scribe: Scribe, **changes: Any) -> Task:
    return open_task(scribe.post(**changes), NOW)


AWARDS: dict[str, Break] = {
    "by another": lambda s, t: s.award(t, by=CY),
    "above the ceiling": lambda s, t: s.award(t, price=101),
    "another price than bid": lambda s, t: s.award(t, price=51),
    "another worker's bid": lambda s, t: s.award(t, CY, bid=t.bids[0].record.id, price=50),
    "no bid at all": lambda s, t: s.award(t, bid=b""),
    "to the poster": lambda s, t: s.award(t, worker=ADA, bid=bytes(32)),
    "another lease": lambda s, t: s.award(t, lease=kinds.Lease(1, 30_000, 6_000, 3)),
    "terms of something else": lambda s, t: s.award(t, terms=bytes(32)),
    "winner not considered": lambda s, t: s.award(
        t, considered=(kinds.Considered(t.bids[1].record.id, 5_000),)
    ),
}


@pytest.mark.parametrize("name", AWARDS)
def test_an_award_keeps_to_the_post_and_the_bids(name: str) -> None:
    scribe = Scribe()
    task = opened(scribe)
    for keys, price in ((BO, 50), (CY, 60)):
        task = step(task, scribe.bid(task, keys, price), NOW)
    with pytest.raises(IllegalTransition):
        step(task, AWARDS[name](scribe, task), NOW)
    considered = tuple(kinds.Considered(bid.record.id, 5_000) for bid in task.bids)
    assert step(task, scribe.award(task, considered=considered), NOW).state is State.AWARDED
    unknown = scribe.award(task, DEE, bid=b"\x05" * 32, price=70)
    assert step(task, unknown, NOW).worker == DEE.agent, "the sequencer may know more bids"


@pytest.mark.parametrize(("mode", "price"), [("claim", 99), ("claim", 101), ("direct", 101)])
def test_a_claim_pays_the_fixed_price_and_a_direct_task_no_more_than_stated(
    mode: kinds.Mode, price: int
) -> None:
    scribe = Scribe()
    task = opened(scribe, mode=mode, worker=BO.agent if mode == "direct" else None)
    with pytest.raises(IllegalTransition):
        step(task, scribe.award(task, price=price), NOW)
    assert step(task, scribe.award(task), NOW).state is State.AWARDED


def test_a_direct_award_names_no_bid_and_no_other_worker() -> None:
    scribe = Scribe()
    task = opened(scribe, mode="direct", worker=BO.agent)
    for record in (scribe.award(task, bid=bytes(32)), scribe.award(task, CY), scribe.bid(task)):
        with pytest.raises(IllegalTransition):
            step(task, record, NOW)


TERMS = kinds.BidTerms(50, 900, 9_000, 60_000)
OPEN_BID = (TERMS, b"", b"")
SEALED_BID = (None, b"sealed", bytes(32))
BIDS: list[tuple[str, bool, tuple[Any, ...], bool]] = [
    ("auction", False, OPEN_BID, True),
    ("auction", False, SEALED_BID, False),
    ("auction", False, (None, b"", b""), False),
    ("auction", False, (kinds.BidTerms(101, 900, 9_000, 60_000), b"", b""), False),
    ("auction", False, (kinds.BidTerms(100, 900, 9_000, 60_000), b"", b""), True),
    ("claim", False, (kinds.BidTerms(101, 900, 9_000, 60_000), b"", b""), True),
    ("auction", True, SEALED_BID, True),
    ("auction", True, OPEN_BID, False),
    ("auction", True, (TERMS, b"sealed", bytes(32)), False),
    ("auction", True, (None, b"sealed", b""), False),
    ("auction", True, (None, b"", bytes(32)), False),
    ("claim", True, OPEN_BID, True),
    ("claim", True, SEALED_BID, True),
    ("claim", False, (None, b"", b""), True),
    ("claim", False, (TERMS, b"sealed", bytes(32)), False),
]


@pytest.mark.parametrize(("mode", "sealed", "parts", "is_taken"), BIDS)
def test_a_bid_is_open_or_sealed_as_the_post_asks(
    mode: str, sealed: bool, parts: tuple[Any, ...], is_taken: bool
) -> None:
    scribe = Scribe()
    task = opened(scribe, mode=mode, sealed=sealed)
    bid = scribe.say(BO, kinds.Bid(task.id, *parts))
    if is_taken:
        assert len(step(task, bid, NOW).bids) == 1
    else:
        with pytest.raises(IllegalTransition):
            step(task, bid, NOW)


POSTS: dict[str, dict[str, Any]] = {
    "weights below": {"rule": kinds.Rule(4_000, 2_000, 2_000, 1_999)},
    "weights above": {"rule": kinds.Rule(10_000, 1, 0, 0)},
    "direct to nobody": {"mode": "direct"},
    "auction for one": {"worker": BO.agent},
    "direct to oneself": {"mode": "direct", "worker": ADA.agent},
    "auction by another": {"sequencer": BO.agent},
    "direct by another": {"mode": "direct", "worker": BO.agent, "sequencer": BO.agent},
    "window to the end": {"bid_window_ms": 60_000},
    "private and inline": {"input": kinds.Input(b"x", sha256(b"x").digest(), 1, "", True)},
    "another hash": {"input": kinds.Input(b"x", bytes(32), 1, "", False)},
    "another size": {"input": kinds.Input(b"x", sha256(b"x").digest(), 2, "", False)},
    "no evaluator": {"acceptance": kinds.Acceptance("evaluator", b"", None, 5)},
    "evaluator unasked": {"acceptance": kinds.Acceptance("human", b"", CY.agent, 5)},
    "no expected hash": {"acceptance": kinds.Acceptance("hash", b"", None, 5)},
    "hash unasked": {"acceptance": kinds.Acceptance("schema", bytes(32), None, 5)},
}


@pytest.mark.parametrize("name", POSTS)
def test_a_post_that_contradicts_itself_opens_no_task(name: str) -> None:
    with pytest.raises(MalformedRecord):
        opened(Scribe(), **POSTS[name])
