"""Whether a peer is still there, by a clock of the test's."""

from bazaar_host.yamux.keepalive import Keepalive, Verdict


def test_silence_leads_to_a_question_and_then_to_an_end() -> None:
    watch = Keepalive(now=100.0)
    assert watch.due_at == 120.0
    assert watch.judge(119.9) is Verdict.WAIT
    assert watch.judge(120.0) is Verdict.ASK
    assert watch.due_at == 135.0
    assert watch.judge(134.9) is Verdict.WAIT
    assert watch.judge(135.0) is Verdict.GIVE_UP


def test_any_sign_of_life_starts_over() -> None:
    watch = Keepalive(now=100.0)
    watch.heard(110.0)
    assert watch.judge(125.0) is Verdict.WAIT
    assert watch.judge(130.0) is Verdict.ASK
    watch.heard(131.0)
    assert watch.due_at == 151.0
    assert watch.judge(145.0) is Verdict.WAIT
