"""What an ended identity can still say: nothing beyond its last honest entry."""

from itertools import permutations

from tests.log_relays import extend, genesis
from tests.market import Market

from bazaar_node.market.successions import Successions
from bazaar_protocol import evidence_kinds, kinds, records
from bazaar_protocol.identity import Keypair
from bazaar_protocol.records import Record

RECOVERY, ADA, BO, CY = (Keypair.from_name(name) for name in ("recovery", "ada", "bo", "cy"))
LOG = extend(ADA, [genesis(ADA, RECOVERY)], 4)


def succession(old: Keypair, new: Keypair, last: Record) -> Record:
    body = evidence_kinds.Succession(old.agent, last.seq, last.id, new.agent)
    return records.seal(RECOVERY, body, time_ms=9)


def test_only_what_came_before_the_end_counts() -> None:
    known = Successions([succession(ADA, BO, LOG[2])])
    assert [known.is_void(record) for record in LOG] == [False, False, False, True, True]
    fork = extend(ADA, LOG[:2], 1, "stolen")[2]
    assert known.is_void(fork), "another entry in the place of the last honest one"
    loose = records.seal(ADA, kinds.Decline(bytes(32), 0, "busy", 0), time_ms=5)
    assert known.is_void(loose)
    assert not known.is_void(records.seal(BO, loose.body, time_ms=5))  # type: ignore[arg-type]
    assert known.has_ended(ADA.agent)
    assert not known.has_ended(BO.agent)


def test_the_order_in_which_successions_are_heard_is_of_no_matter() -> None:
    said = [
        succession(ADA, BO, LOG[3]),
        succession(ADA, CY, LOG[2]),
        succession(ADA, BO, LOG[2]),
        succession(BO, CY, LOG[0]),
        succession(CY, ADA, LOG[0]),  # a circle, which has to end
    ]
    heirs = set()
    for order in permutations(said):
        known = Successions(order)
        heirs.add(known.heir(ADA.agent))
        assert not known.is_void(LOG[2])
        assert known.is_void(LOG[3])
        assert not any(known.add(record) for record in order), "nothing new in any of them"
    assert len(heirs) == 1
    assert Successions(said[:4]).heir(ADA.agent) == CY.agent


def test_an_agent_ignores_a_thief_and_lets_go_of_its_work() -> None:
    market = Market()
    thief = market.add("thief", capability="word.find", price=3)
    bo = market.add("bo", capability="word.find", price=3)
    task = market.post("thief", capability="word.find", bid_window_ms=100)
    market.wait(1)
    assert market.task("bo", task).state == "running"
    end = thief.log[0]
    assert bo.agent.works_for(thief.keys.agent) == [task]
    bo.agent.successions.add(succession(thief.keys, CY, end))

    other = market.post("thief", capability="word.find", bid_window_ms=100)
    market.wait(1)
    assert bo.agent.entry(other) is None, "no bid, and no word about it"
    # As a poster it takes no bid of the thief's either.
    ours = market.post("bo", capability="word.find", bid_window_ms=100)
    market.wait(1)
    assert market.task("bo", ours).bids == ()
    assert market.task("bo", ours).state == "open"
