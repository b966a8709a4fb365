"""The award rule: one winner, whoever computes it, in whatever order."""

from dataclasses import replace
from random import Random

import msgspec
import pytest
from hypothesis import given, strategies as st
from tests.strategies import structs

from bazaar_protocol import award, kinds
from bazaar_protocol.award import EXPECTED_VALUE, Offer, choose, expected_value
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId

small = st.integers(0, 200)
points = st.integers(0, 10_000)


def offer(number: int, price: int, eta_ms: int = 100, **changes: int) -> Offer:
    terms = kinds.BidTerms(price, eta_ms, changes.get("confidence", 5_000), 60_000)
    bid = RecordId(bytes([number]) * 32)
    return Offer(bid, AgentId(bid), terms, changes.get("standing", 5_000))


@st.composite
def weighted(draw: st.DrawFn) -> kinds.Rule:
    cuts = sorted(draw(st.tuples(points, points, points)))
    first, second, third = cuts
    return kinds.Rule(first, second - first, third - second, 10_000 - third)


def rules() -> st.SearchStrategy[kinds.Rule]:
    return st.just(EXPECTED_VALUE) | weighted()


@st.composite
def offers(draw: st.DrawFn) -> list[Offer]:
    numbers = draw(st.lists(st.integers(0, 255), max_size=8, unique=True))
    made = [(number, draw(small), draw(small)) for number in numbers]
    return [offer(*one, confidence=draw(points), standing=draw(points)) for one in made]


@given(rules(), small, offers(), st.randoms(use_true_random=False))
def test_one_winner_in_any_order_and_within_the_ceiling(
    rule: kinds.Rule, ceiling: int, given_offers: list[Offer], order: Random
) -> None:
    best = choose(rule, ceiling, given_offers)
    shuffled = list(given_offers)
    order.shuffle(shuffled)
    assert choose(rule, ceiling, shuffled) == best
    eligible = [one for one in given_offers if one.terms.price <= ceiling]
    assert (best in eligible) if eligible else (best is None)
    without_the_dear = choose(rule, ceiling, eligible)
    assert without_the_dear == best, "an offer above the ceiling changes nothing"


@given(rules(), small, offers())
def test_who_is_no_worse_in_anything_loses_to_nobody_it_beats(
    rule: kinds.Rule, ceiling: int, given_offers: list[Offer]
) -> None:
    best = choose(rule, ceiling, given_offers)
    if best is None:
        return
    for one in given_offers:
        better = (
            one.terms.price < best.terms.price
            and one.terms.eta_ms <= best.terms.eta_ms
            and one.terms.confidence >= best.terms.confidence
            and one.standing >= best.standing
        )
        assert not better


def test_the_formula_by_hand() -> None:
    rule = kinds.Rule(4_000, 3_000, 2_000, 1_000)
    cheap = offer(1, 40, 400, confidence=9_000, standing=0)
    fast = offer(2, 80, 100, confidence=9_000, standing=0)
    # cheap: 4000*6000 + 3000*2500 = 31.5 M; fast: 4000*2000 + 3000*10000 = 38 M; the rest is equal.
    assert choose(rule, 100, [cheap, fast]) == fast
    # 4000*6000 + 3000*5000 = 39 M beats the 38 M.
    cheap = offer(1, 40, 200, confidence=9_000, standing=0)
    assert choose(rule, 100, [cheap, fast]) == cheap


def test_the_expected_value_by_hand() -> None:
    # .9 * (100 - 60) - .1 * 50 = 31 beats .5 * (100 - 20) - .5 * 50 = 15, and loses to .8 at 40.
    assert expected_value(9_000, 100, 60) == 310_000
    trusted, cheap = offer(1, 60, standing=9_000), offer(2, 20, standing=5_000)
    assert choose(EXPECTED_VALUE, 100, [trusted, cheap]) == trusted
    between = offer(3, 40, standing=8_000)
    assert choose(EXPECTED_VALUE, 100, [trusted, cheap, between]) == between


@given(points, small, offers())
def test_among_equals_the_expected_value_picks_the_cheapest_whatever_they_claim(
    standing: int, ceiling: int, given_offers: list[Offer]
) -> None:
    equals = [replace(one, standing=standing) for one in given_offers]
    best = choose(EXPECTED_VALUE, ceiling, equals)
    prices = [one.terms.price for one in equals if one.terms.price <= ceiling]
    assert (best.terms.price if best else None) == min(prices, default=None)


def test_ties_go_to_the_lower_price_and_then_to_the_smaller_id() -> None:
    only_eta = kinds.Rule(0, 10_000, 0, 0)
    assert choose(only_eta, 100, [offer(1, 9), offer(2, 8)]) == offer(2, 8)
    assert choose(only_eta, 100, [offer(2, 9), offer(1, 9)]) == offer(1, 9)


def test_zero_is_no_trap() -> None:
    rule = kinds.Rule(5_000, 5_000, 0, 0)
    assert choose(rule, 0, [offer(1, 0, 0)]) == offer(1, 0, 0)
    assert choose(rule, 0, [offer(1, 1, 0)]) is None
    assert choose(rule, 100, []) is None
    assert choose(rule, 2**53 - 1, [offer(1, 2**53 - 1, 2**53 - 1)]) is not None


@given(structs(kinds.BidTerms), st.binary(min_size=32, max_size=32), st.data())
def test_a_sealed_bid_is_bound_to_its_terms(
    terms: kinds.BidTerms, salt: bytes, data: st.DataObject
) -> None:
    bid = kinds.Bid(bytes(32), None, b"sealed", award.commitment(salt, terms))
    award.check_opening(bid, salt, terms)
    field = data.draw(st.sampled_from(["price", "eta_ms", "confidence", "valid_for_ms"]))
    other = msgspec.structs.replace(terms, **{field: getattr(terms, field) + 1})
    for wrong_salt, wrong_terms in ((salt, other), (bytes(31) + b"\x99", terms)):
        if (wrong_salt, wrong_terms) != (salt, terms):
            with pytest.raises(MalformedRecord):
                award.check_opening(bid, wrong_salt, wrong_terms)


def test_the_terms_hash_covers_all_that_is_agreed() -> None:
    lease = kinds.Lease(1, 2, 3, 4)
    hashes = {
        award.terms_hash(bytes(32), b"", 5, lease),
        award.terms_hash(b"\x01" * 32, b"", 5, lease),
        award.terms_hash(bytes(32), bytes(32), 5, lease),
        award.terms_hash(bytes(32), b"", 6, lease),
        award.terms_hash(bytes(32), b"", 5, kinds.Lease(1, 2, 3, 5)),
    }
    assert len(hashes) == 5
