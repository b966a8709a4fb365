"""How much work a relay asks for: up with a flood of strangers, down slowly, never beyond."""

from tests.market_records import NOW_MS

from bazaar_protocol import limits
from bazaar_relay.machine.difficulty import HONOURED_MS, WINDOW_MS, Difficulty, WorkPolicy

POLICY = WorkPolicy(bits=10, bits_max=15, free_per_s=10)
CALM_MS = 6 * WINDOW_MS


def flooded(windows: int, strangers: int = 1_000, others: int = 0) -> tuple[Difficulty, int]:
    """Return a difficulty after so many windows, each with so many writes, and the time."""
    difficulty, now_ms = Difficulty(POLICY), NOW_MS
    difficulty.target(now_ms)
    for _ in range(windows):
        difficulty.count(strangers=strangers, others=others, now_ms=now_ms)
        now_ms += WINDOW_MS
    return difficulty, now_ms


def test_the_target_goes_up_with_the_share_of_strangers() -> None:
    after = {others: flooded(1, others=others) for others in (0, 900, 1_100)}
    targets = {others: one.target(now_ms) for others, (one, now_ms) in after.items()}
    assert targets == {0: 12, 900: 11, 1_100: 10}


def test_it_never_goes_beyond_the_maximum() -> None:
    difficulty, now_ms = flooded(50)
    assert difficulty.target(now_ms) == POLICY.bits_max


def test_it_comes_down_slowly_and_not_below_the_minimum() -> None:
    difficulty, now_ms = flooded(50)
    targets = [difficulty.target(now_ms + n * CALM_MS) for n in range(8)]
    assert targets == [15, 14, 13, 12, 11, 10, 10, 10]
    again, now_ms = flooded(50)
    assert again.target(now_ms + 100 * CALM_MS) == 10  # in one go, after nothing at all happened


def test_a_few_strangers_are_no_load_even_where_there_is_nobody_else() -> None:
    difficulty, now_ms = flooded(50, strangers=100)
    assert difficulty.target(now_ms) == 10


def test_what_was_announced_is_enough_for_a_while() -> None:
    difficulty, now_ms = flooded(2)
    assert difficulty.target(now_ms) == 14
    assert difficulty.is_enough(10, now_ms)
    assert not difficulty.is_enough(9, now_ms)
    later_ms = now_ms + HONOURED_MS - 1
    for moment_ms in range(now_ms, later_ms, WINDOW_MS):
        difficulty.count(strangers=1_000, now_ms=moment_ms)
    assert difficulty.target(later_ms + 1) == 15
    assert not difficulty.is_enough(11, later_ms + 1)
    assert difficulty.is_enough(15, later_ms + 1)


def test_a_clock_that_jumps_back_changes_little() -> None:
    difficulty, now_ms = flooded(2)
    assert difficulty.target(now_ms - limits.DAY_MS) in {13, 14, 15}
    assert difficulty.target(now_ms - limits.DAY_MS + 100 * CALM_MS) == 10


def test_another_policy_keeps_the_target_where_it_may_be() -> None:
    difficulty, now_ms = flooded(2)
    difficulty.set_policy(WorkPolicy(bits=12, bits_max=13))
    assert difficulty.target(now_ms) == 13
    difficulty.set_policy(WorkPolicy(bits=0))
    assert difficulty.target(now_ms) == 0
    difficulty.set_policy(WorkPolicy(bits=20, bits_max=4))
    assert difficulty.target(now_ms) == 20
