"""Those who deal with themselves, and those who sign more than an honest one does."""

import pytest
from tests.rated_town import ACCEPTED, DISPUTED, Row, Town, as_if_by, contract_of, found, late
from tests.reputation_records import RIGHT, WRONG, Deal, Party, deal

from bazaar_protocol.log import Head
from bazaar_reputation.contracts import (
    attach,
    findings,
)


@pytest.fixture
def town() -> Town:
    return Town()


def test_who_works_or_judges_for_itself_has_shown_nothing(town: Town) -> None:
    poster, worker = town.poster, town.worker
    post = poster.post()
    for changes in ({"judge": worker.agent}, {"poster": worker.agent}):
        granted = poster.award(post, worker.agent, **changes)
        signed = [granted, worker.accept(granted), worker.deliver(granted)]
        judges = worker if "judge" in changes else poster
        for accepted in (True, False):
            assert found([*signed, judges.verdict(signed[-1], accepted=accepted)]) == []
        assert found([*signed[:2], poster.breach(signed[1])]) == []
        assert found(signed) == []


def test_a_worker_that_sequences_its_own_task_rates_nobody_by_it(town: Town) -> None:
    assert town.deal("breached", Deal(sequencer=town.worker)) == []


def test_silence_counts_from_two_third_parties_that_the_award_names(town: Town) -> None:
    breach: Row = ("worker", "sequencer", -500, "breach")
    parties = [town.sequencer, town.poster, town.worker]
    involved = Deal(sequencer=town.sequencer, relays=parties)
    assert town.deal("silent", involved) == [breach]
    # Nor do they take the place of others: two relays that come after them by id.
    last = sorted(map(Party, map(str, range(200))), key=lambda party: party.agent)[-2:]
    assert last[0].agent > max(party.agent for party in parties)
    town.parties |= {party.name: party for party in last}
    rows = town.deal("silent", Deal(sequencer=town.sequencer, relays=[*parties, *last]))
    assert rows == [breach, *(("worker", one.name, -250, "silent") for one in last)]

    crowd = [Party(str(number)) for number in range(5)]
    town.parties |= {party.name: party for party in crowd}
    named = Deal(sequencer=town.sequencer, relays=crowd)
    rows = town.deal("silent", named)
    smallest = sorted(crowd, key=lambda party: party.agent)[:2]
    assert rows == [breach, *(("worker", one.name, -250, "silent") for one in smallest)]

    records = deal(town.poster, town.worker, "breached", Deal(sequencer=town.sequencer))
    unnamed = [relay.silence(records[-1]) for relay in town.relays]
    assert town.rows(records + unnamed) == [breach]


def test_a_relay_that_repeats_itself_is_heard_once(town: Town) -> None:
    records = deal(town.poster, town.worker, "silent", Deal(relays=town.relays[:1]))
    again = [town.relays[0].silence(records[3]) for _ in range(3)]
    assert town.rows(records + again) == town.rows(records)
    assert len(town.rows(records)) == 2


def test_silence_about_a_breach_that_was_never_signed_counts_nothing(town: Town) -> None:
    records = deal(town.poster, town.worker, "silent", Deal(relays=town.relays))
    assert town.rows([*records[:3], *records[4:]]) == []


def test_the_first_verdict_counts_in_whatever_order_they_come(town: Town) -> None:
    records = deal(town.poster, town.worker, "rejected")
    regrets = town.poster.verdict(records[3], accepted=True)
    assert town.rows([*records, regrets])[0][3] == "rejected"
    assert town.rows([*records[:4], regrets, records[4]])[0][3] == "rejected"


def test_a_dispute_of_either_of_two_verdicts_is_a_dispute(town: Town) -> None:
    """Else a judge could show one rejection to the worker, and an older one to the others."""
    records = deal(town.poster, town.worker, "rejected")
    second = town.poster.verdict(records[3], accepted=False)
    assert town.rows([*records, second, town.worker.dispute(second)]) == DISPUTED


def test_a_result_that_was_signed_before_the_real_one_voids_no_verdict(town: Town) -> None:
    for decoys in (1, 3, 4, 9):
        post = town.poster.post()
        granted = town.poster.award(post, town.worker.agent)
        accepted = town.worker.accept(granted)
        signed = [town.worker.deliver(granted) for _ in range(decoys)]
        real = town.worker.deliver(granted, WRONG)
        verdict = town.poster.verdict(real, accepted=False)
        records = [post, granted, accepted, *signed, real, verdict]
        assert town.rows(records) == [("worker", "poster", -1000, "rejected")]
        assert town.rows([post, granted, verdict, real, *signed, accepted]) == town.rows(records)


def test_nor_does_an_accept_void_a_breach(town: Town) -> None:
    post = town.poster.post()
    granted = town.poster.award(post, town.worker.agent)
    accepts = [town.worker.accept(granted) for _ in range(9)]
    records = [post, granted, *accepts, town.poster.breach(accepts[-1])]
    assert town.rows(records) == [("worker", "poster", -500, "breach")]


def test_a_flood_of_one_author_is_bounded_and_drowns_nobody_else(town: Town) -> None:
    records = deal(town.poster, town.worker, "disputed", Deal(judge=town.judge))
    flood = [town.worker.dispute(records[4]) for _ in range(20)]
    flood += [town.judge.verdict(records[3]) for _ in range(20)]
    contract = contract_of(records + flood)
    assert len(contract.records) == 1 + 1 + 4 + 4
    assert town.rows(records + flood) == town.rows(records)


def test_a_verdict_on_a_result_that_nobody_signed_counts_nothing(town: Town) -> None:
    records = deal(town.poster, town.worker, "running")
    delivered = town.mallory.deliver(records[1])
    made_up = town.mallory.verdict(delivered, accepted=False)
    forged = as_if_by(town.worker, made_up, town.poster)
    contract = attach(contract_of(records), forged)
    assert findings(contract, late) == ()
    # Nor does it when the worker has signed another.
    contract = attach(contract, town.worker.deliver(records[1]))
    rows = [town.row(one) for one in findings(contract, late)]
    assert rows == [("poster", "worker", -500, "no verdict")]


def test_the_verdict_is_about_the_result_that_it_names(town: Town) -> None:
    records = deal(town.poster, town.worker, "running", Deal(has_canary=True))
    town.worker.deliver(records[1], RIGHT)
    second = town.worker.deliver(records[1], WRONG)
    signed = [*records, *town.worker.log[-2:], town.poster.verdict(second, accepted=False)]
    revealed = [*signed, town.poster.reveal(second)]
    assert town.rows(revealed) == [("worker", "poster", -1000, "rejected, canary")]


def test_who_signs_too_many_results_to_tell_gets_no_benefit_of_the_doubt(town: Town) -> None:
    records = deal(town.poster, town.worker, "running", Deal(has_canary=True))
    results = [town.worker.deliver(records[1]) for _ in range(6)]
    verdict = town.poster.verdict(results[-1], accepted=False)
    signed = [*records, *results, verdict, town.poster.reveal(results[-1])]
    assert town.rows(signed) == [("worker", "poster", -1000, "rejected, canary")]
    # Even so a verdict has to be about this worker's result.
    contract = contract_of([*records, *results])
    assert attach(contract, town.poster.verdict(town.mallory.deliver(records[1]))) is contract


def test_the_first_few_are_kept_in_whatever_order_they_come(town: Town) -> None:
    records = deal(town.poster, town.worker, "delivered")
    verdicts = [town.poster.verdict(records[3], accepted=number > 0) for number in range(6)]
    contract = contract_of(records)
    for order in (verdicts, verdicts[::-1], verdicts[3:] + verdicts[:3]):
        filled = contract
        for record in order:
            filled = attach(filled, record)
        assert [one for one in filled.records if one.kind == "verdict"] == verdicts[:4]


def test_a_verdict_decides_over_a_breach_that_crossed_the_result(town: Town) -> None:
    records = deal(town.poster, town.worker, "accepted", Deal(sequencer=town.sequencer))
    crossed = town.sequencer.breach(records[2])
    assert town.rows([*records, crossed]) == ACCEPTED
    assert town.rows([*records[:4], crossed]) == [("worker", "sequencer", -500, "breach")]


def test_who_withdraws_after_the_deadline_has_still_broken_the_lease(town: Town) -> None:
    records = deal(town.poster, town.worker, "breached")
    assert town.rows([*records, town.worker.withdraw(records[1])]) == town.rows(records)


def test_forks_of_a_log_are_read_alike_by_all(town: Town) -> None:
    """A judge that signs two verdicts for one position convicts itself; the smaller id counts."""
    records = deal(town.poster, town.worker, "delivered")
    fork = Party("poster")
    fork.log[:] = town.poster.log
    yes = town.poster.verdict(records[3], accepted=True)
    no = fork.verdict(records[3], accepted=False)
    assert Head.of(yes).seq == Head.of(no).seq
    first = min(yes, no, key=lambda record: record.id)
    for order in ([yes, no], [no, yes]):
        assert found([*records, *order])[0].record == first.id
