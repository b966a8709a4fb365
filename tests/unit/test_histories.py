"""What is held of one log, and what is wrong with it."""

from tests.reputation_records import Party

from bazaar_node.trust.histories import Known, Named, find_flaws
from bazaar_protocol.identity import Keypair
from bazaar_protocol.log import Head

BO = Party("bo")
BO.go_on(9)
CY, DEE = (Keypair.from_name(name).agent for name in ("cy", "dee"))


def known(*places: int) -> Known:
    found = Known()
    for place in places:
        found = found.seen(BO.log[place - 1])
    return found


def test_a_run_begins_with_the_first_entry_and_grows_at_its_end() -> None:
    found = known(1, 2, 3)
    assert (found.first, found.whole, found.head) == (1, Head.of(BO.log[2]), 3)
    assert known(1, 2, 2, 1, 3, 3) == found


def test_what_does_not_follow_waits_outside_the_run() -> None:
    found = known(1, 2, 5)
    assert (found.whole.seq, found.head) == (2, 5)
    assert known(5).first == 0
    other = Party("bo", time_ms=2_000)
    other.go_on(3)
    assert known(1, 2).seen(other.log[2]).whole.seq == 2, "the next entry of another log"


def test_a_run_can_begin_late_in_a_log() -> None:
    found = Known().begun_at(BO.log[4]).seen(BO.log[5])
    assert (found.first, found.whole.seq, found.head) == (5, 6, 6)


def test_nothing_is_wrong_with_a_whole_log() -> None:
    assert find_flaws(BO.agent, known(1, 2, 3), [Named(CY, 3), Named(DEE, 1)]) == []
    assert find_flaws(BO.agent, Known(), []) == []


def test_a_gap_is_named_by_its_first_and_last_entry() -> None:
    (flaw,) = find_flaws(BO.agent, known(1, 2, 6, 7), [], beyond=6)
    assert (flaw.what, flaw.place, flaw.last) == ("gap", 3, 5)


def test_two_neighbours_that_do_not_fit_are_a_gap_too() -> None:
    other = Party("bo", time_ms=2_000)
    other.go_on(3)
    (flaw,) = find_flaws(BO.agent, known(1, 2).seen(other.log[2]), [], beyond=3)
    assert (flaw.what, flaw.place, flaw.last) == ("gap", 3, 3)
    assert "follows another" in flaw.note


def test_a_cut_tail_is_named_once_for_each_who_shows_it() -> None:
    named = [Named(CY, 4), Named(CY, 9), Named(DEE, 5), Named(DEE, 2)]
    flaws = find_flaws(BO.agent, known(1, 2, 3), named)
    assert {(flaw.what, flaw.place, flaw.last, flaw.source) for flaw in flaws} == {
        ("cut-tail", 4, 9, CY),
        ("cut-tail", 4, 5, DEE),
    }
