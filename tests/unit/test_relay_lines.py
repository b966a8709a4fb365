"""Fair lines: what one identity sends makes nobody else wait longer than a turn."""

from bazaar_relay.serving.lines import QUANTUM, STRANGERS_TURN, FairLine, TwoClasses


def test_large_frames_get_no_more_than_small_ones() -> None:
    line: FairLine[str, str] = FairLine()
    for _ in range(100):
        line.put("greedy", "g", 256)
    for _ in range(2_000):
        line.put("modest", "m", 1)
    taken = [line.take() for _ in range(1_000)]
    greedy, modest = 256 * taken.count("g"), taken.count("m")
    assert abs(greedy - modest) <= 2 * 256


def test_who_comes_late_waits_for_one_turn_of_each_other() -> None:
    line: FairLine[int, int] = FairLine()
    for who in range(10):
        for _ in range(1_000):
            line.put(who, who, 1)
    for _ in range(500):
        line.take()
    line.put(99, 99, 1)
    waited = next(count for count in range(10_000) if line.take() == 99)
    assert waited <= 10 * QUANTUM


def test_many_links_are_one_identity() -> None:
    line: FairLine[str, str] = FairLine()
    for number in range(16):
        for _ in range(100):
            line.put("greedy", f"g{number}", QUANTUM)
    for _ in range(100):
        line.put("modest", "m", QUANTUM)
    taken = [line.take() for _ in range(100)]
    assert taken.count("m") == 50
    assert {taken.count(f"g{number}") for number in range(16)} == {3, 4}


def test_strangers_have_a_share_and_the_rest_when_nobody_else_wants_it() -> None:
    lines: TwoClasses[str, str] = TwoClasses()
    for number in range(1_000):
        lines.put(f"stranger {number}", "s", 1, is_stranger=True)
    for _ in range(70):
        lines.put("ada", "a", 1, is_stranger=False)
    taken = [lines.take() for _ in range(80)]
    assert taken.count("s") == 80 // STRANGERS_TURN
    assert {lines.take() for _ in range(len(lines))} == {"s"}


def test_who_has_gone_waits_for_nothing() -> None:
    lines: TwoClasses[str, str] = TwoClasses()
    for link in ("a1", "a2"):
        for is_stranger in (True, False):
            lines.put("ada", link, 1, is_stranger=is_stranger)
    lines.forget("ada", "a1")
    lines.forget("bo", "b1")
    assert [lines.take() for _ in range(2)] == ["a2", "a2"]
    assert not lines
