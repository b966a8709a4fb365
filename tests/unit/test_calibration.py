"""Forecasts are believed as far as they have come true."""

import math

import pytest
from hypothesis import given, strategies as st

from bazaar_reputation.calibration import Forecast, brier, calibrated_success, duration_factor

RIGHT = [Forecast(9_000, number % 10 > 0) for number in range(50)]
BOASTS = [Forecast(10_000, number % 2 > 0) for number in range(50)]
forecasts = st.lists(st.builds(Forecast, st.integers(0, 10_000), st.booleans()), max_size=60)
bounds = st.floats(0, 1)


def test_the_brier_score_is_the_mean_squared_error() -> None:
    assert brier([Forecast(7_000, True), Forecast(2_000, False)]) == pytest.approx(0.065)
    assert brier([]) == 0.25
    assert brier([Forecast(0, True)] * 9 + [Forecast(10_000, True)] * 50) == 0


def test_a_claim_without_history_moves_nothing() -> None:
    assert calibrated_success(0.4, 10_000, []) == 0.4


def test_a_claim_below_the_bound_counts_at_once() -> None:
    assert calibrated_success(0.8, 3_000, []) == 0.3


def test_true_forecasts_earn_belief_and_boasts_do_not() -> None:
    assert 0.6 < calibrated_success(0.4, 9_000, RIGHT) < 0.9
    assert calibrated_success(0.4, 10_000, BOASTS) == 0.4
    short = calibrated_success(0.4, 9_000, RIGHT[:5])
    assert 0.4 < short < calibrated_success(0.4, 9_000, RIGHT)


def test_who_claims_too_much_is_believed_less_by_as_much() -> None:
    high = [Forecast(9_500, number % 5 > 0) for number in range(50)]
    assert calibrated_success(0.4, 9_500, high) < 0.95 - 0.15


@given(bounds, st.integers(0, 10_000), forecasts)
def test_the_result_lies_between_the_bound_and_the_claim(
    lower: float, claimed_bp: int, history: list[Forecast]
) -> None:
    believed = calibrated_success(lower, claimed_bp, history)
    claim = claimed_bp / 10_000
    assert min(lower, claim) <= believed <= max(min(claim, 1.0), min(lower, claim))


def test_the_factor_covers_nine_of_ten_jobs() -> None:
    ratios = [number / 10 for number in range(1, 51)]
    assert duration_factor(ratios) == 4.6
    assert duration_factor([9.0] * 50 + ratios) == 4.6
    assert duration_factor([1.5] * 9) == 1.5


def test_the_factor_of_few_jobs_is_cautious() -> None:
    assert duration_factor([]) == 1
    assert duration_factor([0.2, 0.3]) == 1
    assert duration_factor([0.2, 3.0]) == 3


@given(st.lists(st.floats(0.01, 100), min_size=9, max_size=50))
def test_the_factor_is_the_conformal_quantile(ratios: list[float]) -> None:
    rank = math.ceil((len(ratios) + 1) * 9 / 10)
    assert duration_factor(ratios) == sorted(ratios)[rank - 1]
