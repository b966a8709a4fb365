"""Sums that fade: the same findings give the same sum to the last digit, however they came."""

import random
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, strategies as st

from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.records import RecordId
from bazaar_reputation.findings import Finding, StrandKey
from bazaar_reputation.strands import (
    BAD_KEPT,
    BLOCK_ROUNDS,
    GOOD_KEPT,
    Tally,
    counts_from,
    fold,
)

ADA, BO = (Keypair.from_name(name).agent for name in ("ada", "bo"))
STRAND = StrandKey("worker", ADA, BO, "pdf.extract", 1, b"")

# Steps between rounds: mostly small, some that cross a block, some that leave it far behind.
STEPS = st.integers(0, 3) | st.integers(0, 40) | st.sampled_from([511, 512, 513, 1023, 1024, 5000])


def finding(number: int, place: int, *, is_good: bool = True, weight: int = 1_000) -> Finding:
    name = RecordId(sha256(str(number).encode()).digest())
    return Finding(name, STRAND, is_good, weight, place, name, "")


@st.composite
def histories(draw: st.DrawFn) -> list[Finding]:
    """Findings of one strand, in order."""
    made: list[Finding] = []
    now = draw(st.integers(0, 600))
    weights = st.sampled_from([1_000, 700, 500, 300, 250]) | st.integers(1, 1_000)
    for number in range(draw(st.integers(0, 40))):
        now += draw(STEPS)
        is_good, weight = draw(st.booleans()), draw(weights)
        made.append(finding(number, now, is_good=is_good, weight=weight))
    return sorted(made, key=lambda one: (one.round, one.record))


def model(findings: list[Finding], now: int) -> tuple[float, float]:
    """The sums as the formula says, by powers."""
    first = (now // BLOCK_ROUNDS - 1) * BLOCK_ROUNDS
    good = bad = 0.0
    for one in findings:
        if one.round < first:
            continue
        if one.is_good:
            good += one.weight / 1_000 * GOOD_KEPT ** (now - one.round)
        else:
            bad += one.weight / 1_000 * BAD_KEPT ** (now - one.round)
    return good, bad


@given(histories(), st.randoms(use_true_random=False))
def test_one_after_the_other_is_all_at_once_to_the_last_bit(
    history: list[Finding], chance: random.Random
) -> None:
    tally = Tally.empty()
    for count, one in enumerate(history, start=1):
        grown = tally.add(one)
        assert grown is not None
        assert repr(grown) == repr(fold(history[:count]))
        tally = grown
    shuffled = history + history[::2]
    chance.shuffle(shuffled)
    assert repr(fold(shuffled)) == repr(tally)


@given(histories(), st.randoms(use_true_random=False))
def test_a_holder_that_folds_again_when_it_must_agrees(
    history: list[Finding], chance: random.Random
) -> None:
    """It keeps all findings, and reads back only those that still count."""
    shuffled = [*history]
    chance.shuffle(shuffled)
    kept: list[Finding] = []
    tally = Tally.empty()
    for one in shuffled:
        kept.append(one)
        grown = tally.add(one)
        if grown is None:
            first = counts_from(max(other.round for other in kept))
            grown = fold(other for other in kept if other.round >= first)
        tally = grown
    assert repr(tally) == repr(fold(history))


@given(histories(), STEPS)
def test_the_sums_are_those_of_the_formula(history: list[Finding], step: int) -> None:
    tally = fold(history)
    now = tally.round + step
    assert tally.at(now) == pytest.approx(model(history, now), rel=1e-12, abs=1e-15)
    assert tally.at(tally.round - 1) == tally.at(tally.round)


@given(st.integers(0, 10_000), st.integers(0, 3_000))
def test_all_within_512_rounds_count_and_none_beyond_1023(place: int, age: int) -> None:
    good, bad = fold([finding(1, place)]).at(place + age)
    assert bad == 0
    assert good > 0 or age > 511
    assert good == 0 or age <= 1_023


def test_a_second_time_or_an_earlier_one_has_to_be_folded_again() -> None:
    tally = fold([finding(1, 5)])
    assert tally.add(finding(1, 5)) is None
    assert tally.add(finding(2, 4)) is None
    assert tally.add(finding(2, 6)) is not None
    assert fold([]) == Tally.empty()


def test_a_round_leaves_98_percent_of_the_good_and_99_of_the_bad() -> None:
    tally = fold([finding(1, 7), finding(2, 7, is_good=False, weight=500)])
    assert (tally.count, tally.round) == (2, 7)
    assert tally.at(8) == (0.98, 0.99 * 0.5)
    assert tally.at(9) == (0.98 * 0.98, 0.99 * 0.99 * 0.5)


def test_two_contracts_under_one_record_stand_in_order() -> None:
    one, other = finding(1, 7), finding(2, 7)
    both = sorted((replace(other, record=one.record), one), key=lambda finding: finding.contract)
    tally = fold(both[:1])
    assert tally.add(both[1]) == fold(both) != tally
    assert fold(both[1:]).add(both[0]) is None


def test_findings_of_different_strands_never_mix() -> None:
    other = StrandKey("worker", ADA, AgentId(bytes(32)), "pdf.extract", 1, b"")
    one = finding(1, 5)
    mixed = Finding(one.contract, other, one.is_good, one.weight, 6, one.record, "")
    with pytest.raises(AssertionError):
        fold([one, mixed])


def test_a_refold_reads_a_bounded_part_of_the_longest_strand() -> None:
    """Two records to a round, since each has a place of its own in its author's log."""
    history = [finding(number, number // 2) for number in range(20_000)]
    first = counts_from(history[-1].round)
    window = [one for one in history if one.round >= first]
    assert len(window) <= 4 * BLOCK_ROUNDS
    assert repr(fold(window)) == repr(fold(history))
