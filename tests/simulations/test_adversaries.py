"""Adversaries in worlds: what they do comes out, and each check goes red without the defence."""

import os
import random
import subprocess
import sys
from typing import Any

import pytest

from bazaar_node.desk import Desk
from bazaar_node.heirs import Heirs
from bazaar_node.network import relay_client
from bazaar_node.trust import keeping, syncing
from bazaar_node.trust.receipts import Receipts
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.evidence_kinds import Vouch
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Genesis
from bazaar_protocol.records import NO_RECORD, Record, parse, seal, unseal
from bazaar_relay.machine.admission import Admission, Policy
from bazaar_relay.serving import intake
from bazaar_reputation import contracts
from bazaar_simulations.world import owner
from bazaar_simulations.world.adversaries.adversary import Adversary
from bazaar_simulations.world.adversaries.mutations import WAYS, Mutator
from bazaar_simulations.world.adversaries.registry import LIVE
from bazaar_simulations.world.adversaries.relays import Censor
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.cast import Cast
from bazaar_simulations.world.hostile_scenarios import HOSTILE
from bazaar_simulations.world.relay_process import GuardedRelay
from bazaar_simulations.world.scenario import Scenario
from bazaar_simulations.world.scenarios import find
from bazaar_simulations.world.weather import Weather
from bazaar_simulations.world.world import World

SEED = 3
INPUTS = int(os.environ.get("BAZAAR_FUZZ_INPUTS", "28000"))
FORGERIES_EACH = 20
NOT_OUT = "what an adversary does comes out"
TOO_FAR = "no adversary does more than this"
FORGED = "no forged record is accepted"
MARKET = "the market goes on"
WRONG = "only right results are accepted"

RUN_TWO = """
import sys
from bazaar_simulations.world.scenarios import find
for name in ("hostile-relays", "false-times"):
    sys.stdout.write(find(name).run(5).journal.text)
"""


def kinds_of(scenario: Scenario) -> set[type[Adversary]]:
    cast = scenario.cast
    kinds = (*cast.nodes, *cast.relays, *cast.strangers)
    return {kind for kind in kinds if issubclass(kind, Adversary)}


def broken(name: str, seed: int = SEED) -> BrokenInvariant:
    with pytest.raises(BrokenInvariant) as caught:
        find(name).run(seed)
    return caught.value


@pytest.mark.parametrize("scenario", HOSTILE, ids=lambda scenario: scenario.name)
def test_what_adversaries_do_comes_out_in(scenario: Scenario) -> None:
    world = scenario.run(SEED)
    assert world.figures["tasks accepted"] >= 5
    assert any(one.acted_s is not None for one in world.adversaries)


def test_every_adversary_takes_part_somewhere_and_is_described() -> None:
    seen = set[type[Adversary]]().union(*map(kinds_of, HOSTILE))
    assert seen == set(LIVE.values())
    for name, kind in LIVE.items():
        assert kind.profile.name == name
        assert kind.__doc__
        assert all((kind.profile.source, kind.profile.observable, kind.profile.metric))


def test_one_seed_is_one_run_with_adversaries_too() -> None:
    texts = [
        subprocess.run(
            [sys.executable, "-c", RUN_TWO],
            check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    ]  # fmt: skip
    assert texts[0] == texts[1]
    assert texts[0].count(" figure ") > 10


def test_a_page_of_large_records_waits_in_parts_for_who_does_not_read() -> None:
    find("floods").run(101)  # where a page of posts was larger than what may wait on a link


# Without the defence the check goes red.


def nothing(*_: Any, **__: Any) -> None:
    """Stand where something was done."""


async def nothing_later(*_: Any, **__: Any) -> None:
    """Stand where something was waited for."""


def believe(raw: bytes) -> Record:
    return parse(raw)[0]


@pytest.mark.parametrize("name", ["forker", "equivocator"])
def test_a_node_that_proves_no_forks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping._Keeping, "_prove", nothing)
    error = broken(name)
    assert error.invariant == NOT_OUT
    assert "hold no proof" in error.what


def test_a_node_that_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "find_flaws", lambda *_, **__: [])
    error = broken("truncator")
    assert error.invariant == NOT_OUT
    assert "miss no entry" in error.what


def test_a_node_that_confronts_no_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Receipts, "confront", nothing_later)
    error = broken("withholder")
    assert error.invariant == NOT_OUT
    assert "hold no proof" in error.what


@pytest.mark.parametrize("name", ["tamperer", "hostile-relays"])
def test_a_node_that_checks_no_signature(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_client, "unseal", believe)
    assert broken(name).invariant == FORGED


def test_a_relay_that_checks_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "verify", believe)
    assert broken("floods").invariant in {FORGED, TOO_FAR}


def test_a_relay_that_keeps_whatever_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuardedRelay, "policy", Policy())
    error = broken("floods")
    assert error.invariant == TOO_FAR
    assert "bytes of it" in error.what


def test_a_relay_that_looks_at_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admission, "refusal", lambda *_: None)
    error = broken("false-times")
    assert error.invariant == TOO_FAR
    assert "bids were taken" in error.what


def test_nodes_that_hear_of_no_succession(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Heirs, "learn", nothing_later)
    monkeypatch.setattr(keeping._Keeping, "_take_succession", nothing)
    error = broken("key-thief")
    assert error.invariant == NOT_OUT
    assert "have not heard who carries on" in error.what


@pytest.mark.parametrize("name", ["bad-workers", "eclipse"])
def test_posters_that_learn_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "judge", lambda *_: ())
    error = broken(name)
    assert error.invariant == NOT_OUT
    assert "hold nothing against it" in error.what


def test_owners_that_accept_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def accept(desk: Desk, task: str, expected: str) -> bool | None:
        del expected
        async for detail in desk.watch(task):
            if detail.task.state == "delivered":
                await desk.decide(task, accepted=True, reason="")
                return True
        return None

    monkeypatch.setattr(owner, "judge", accept)
    assert broken("bad-workers").invariant == WRONG


def test_a_market_whose_only_relay_censors() -> None:
    # One relay, and no honest one beside it.
    world = World(SEED, agents=4, relays=0, cast=Cast(relays=(Censor,)), accepted_min=0.5)
    with pytest.raises(BrokenInvariant, match=MARKET):
        world.run(240)


def test_a_market_in_which_everything_takes_long() -> None:
    weather = Weather(latency_s=3.0)
    world = World(SEED, agents=3, weather=weather, median_s_max=15)
    with pytest.raises(BrokenInvariant, match="the median task took"):
        world.run(120)


# Forgeries.


@pytest.mark.timeout(120 + INPUTS // 1000)
@pytest.mark.parametrize("way", WAYS)
def test_no_mutated_record_is_taken_for_a_record(way: str) -> None:
    rng = random.Random(way)
    mutator = Mutator(rng, Keypair.from_name("forger"))
    author = Keypair.from_name("author")
    head = seal(author, Genesis(bytes(32)), time_ms=1, seq=1, prev=NO_RECORD)
    for number in range(2, 2 + INPUTS // len(WAYS) // FORGERIES_EACH):
        for _ in range(FORGERIES_EACH):
            forged = mutator.mutate(head.raw, way)
            assert forged != head.raw
            with pytest.raises(RemoteError):
                unseal(forged)
        body = Vouch(rng.randbytes(32), is_withdrawn=False)
        head = seal(author, body, time_ms=number, seq=number, prev=head.id)
