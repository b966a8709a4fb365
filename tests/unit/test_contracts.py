"""What one contract proves about its worker and its poster, and what it does not."""

import msgspec
import pytest
from tests.rated_town import (
    ACCEPTED,
    DISPUTED,
    Heads,
    Row,
    Town,
    as_if_by,
    contract_of,
    early,
    found,
    late,
)
from tests.reputation_records import RIGHT, WRONG, Deal, Outcome, Party, deal

from bazaar_protocol import kinds
from bazaar_protocol.records import Record, Unknown
from bazaar_reputation.contracts import attach, begin, parent_of, unsettled
from bazaar_reputation.gathering import Parked


@pytest.fixture
def town() -> Town:
    return Town()


TABLE: list[tuple[Outcome, Heads, list[Row]]] = [
    ("awarded", late, []),
    ("running", late, []),
    ("withdrawn", late, []),
    ("breached", late, [("worker", "poster", -500, "breach")]),
    ("delivered", early, []),
    ("delivered", late, [("poster", "worker", -500, "no verdict")]),
    ("accepted", early, ACCEPTED),
    ("rejected", early, [("worker", "poster", -700, "rejected, no word yet")]),
    ("rejected", late, [("worker", "poster", -1000, "rejected")]),
    ("disputed", late, DISPUTED),
]


@pytest.mark.parametrize(("outcome", "heads", "rows"), TABLE)
def test_the_table(town: Town, outcome: Outcome, heads: Heads, rows: list[Row]) -> None:
    assert town.deal(outcome, heads=heads) == rows


def test_a_finding_says_what_was_done_with_what_and_where_it_stands(town: Town) -> None:
    town.poster.go_on(7)
    records = deal(
        town.poster, town.worker, "accepted", Deal(version=3, fingerprint=RIGHT, capability="a.b")
    )
    of_worker, of_poster = found(records)
    verdict, deliver = records[-1], records[-2]
    assert (of_worker.contract, of_worker.record) == (records[1].id, verdict.id)
    assert of_worker.round == verdict.seq // 2 == 5
    strand = of_worker.strand
    assert (strand.capability, strand.version, strand.fingerprint) == ("a.b", 3, RIGHT)
    assert (of_poster.record, of_poster.round) == (deliver.id, deliver.seq // 2)
    strand = of_poster.strand
    assert (strand.capability, strand.version, strand.fingerprint) == ("", 0, b"")


def test_the_patience_is_sixteen_entries_and_unsettled_says_up_to_where(town: Town) -> None:
    records = deal(town.poster, town.worker, "rejected")
    deliver = records[-2]
    contract = contract_of(records)
    assert unsettled(contract) == ((town.worker.agent, deliver.seq + 16),)
    assert town.rows(records, lambda _: deliver.seq + 15)[0][3] == "rejected, no word yet"
    assert town.rows(records, lambda _: deliver.seq + 16)[0][3] == "rejected"

    records = deal(town.poster, town.worker, "delivered")
    assert unsettled(contract_of(records)) == ((town.poster.agent, records[1].seq + 16),)
    assert town.rows(records, lambda _: records[1].seq + 15) == []
    assert town.rows(records, lambda _: records[1].seq + 16) != []
    for outcome in ("awarded", "running", "breached", "accepted", "disputed"):
        assert unsettled(contract_of(deal(town.poster, town.worker, outcome))) == ()


def test_twenty_unsolicited_claims_say_nothing_of_their_victim(town: Town) -> None:
    """The attack that pulled an honest node of the nearest prior art from .83 to .387."""
    victim, mallory, accomplice = town.worker, town.mallory, town.judge
    heap: list[Record] = []
    for number in range(20):
        as_worker = deal(mallory, victim, "awarded", Deal(relays=(accomplice,)))
        granted = as_worker[1]
        # Mallory makes up what the victim never signed, and signs it as Mallory.
        accepted = mallory.accept(granted)
        delivered = mallory.deliver(granted, WRONG)
        broken = mallory.breach(accepted)
        verdict = mallory.verdict(delivered, accepted=False)
        made_up = [accepted, delivered, broken, verdict, accomplice.silence(broken)]
        links = [as_if_by(victim, one, mallory) for one in (verdict, broken)]
        heap += [*as_worker, *made_up, *links, mallory.reveal(delivered)]
        # And awards in the name of a poster that knows nothing of them.
        post = mallory.post(title=str(number))
        granted = mallory.award(post, accomplice.agent, poster=victim.agent, judge=victim.agent)
        heap += [post, granted, accomplice.accept(granted), accomplice.deliver(granted)]
    about = [one for one in found(heap) if one.strand.subject == victim.agent]
    assert about == []
    # The same words count once the victim has signed: so it is the accept that is missing.
    assert town.rows(deal(town.poster, victim, "rejected")) != []


def test_what_another_signs_in_the_place_of_an_author_changes_nothing(town: Town) -> None:
    outcomes: list[Outcome] = ["running", "silent", "withdrawn", "disputed", "revealed"]
    for outcome in outcomes:
        records = deal(town.poster, town.worker, outcome, Deal(relays=town.relays, has_canary=True))
        contract = contract_of(records)
        for record in records[2:]:
            assert not isinstance(record.body, Unknown)
            assert attach(contract, town.mallory.say(record.body)) is contract
            assert attach(contract, record) is contract


@pytest.mark.parametrize("outcome", ["withdrawn", "silent", "disputed", "revealed"])
def test_a_record_of_another_epoch_task_or_award_changes_nothing(
    town: Town, outcome: Outcome
) -> None:
    terms = Deal(relays=town.relays, has_canary=True)
    records = deal(town.poster, town.worker, outcome, terms)
    contract = contract_of(records)
    parties = {party.agent: party for party in town.parties.values()}
    for record in records[2:]:
        for change in ({"epoch": 2}, {"task": WRONG}):
            if record.kind == "reveal" and "epoch" in change:
                continue  # a canary is opened once for all attempts
            twisted = msgspec.structs.replace(record.body, **change)
            assert not isinstance(twisted, Unknown)
            assert attach(contract, parties[record.author].say(twisted)) is contract
    for record in deal(town.poster, town.worker, outcome, terms):
        assert attach(contract, record) is contract


def test_two_awards_of_one_attempt_are_two_contracts(town: Town) -> None:
    post = town.poster.post()
    first, second = (town.poster.award(post, town.worker.agent) for _ in range(2))
    accepted = town.worker.accept(first)
    assert attach(begin(second), accepted) == begin(second)
    delivered = town.worker.deliver(second)
    verdict = town.poster.verdict(delivered)
    assert town.rows([post, first, second, accepted, delivered, verdict]) == []


def test_each_answer_is_to_one_who_could_have_said_it(town: Town) -> None:
    """A link names an author too: that of the contract, not whoever it may be."""
    records = deal(town.poster, town.worker, "running")
    _, granted, accepted = records
    contract = contract_of(records)
    by_mallory = (town.mallory.accept(granted), town.mallory.deliver(granted))
    assert attach(contract, town.poster.breach(by_mallory[0])) is contract
    assert attach(contract, town.poster.verdict(by_mallory[1])) is contract
    assert attach(contract, town.poster.reveal(by_mallory[1])) is contract
    verdict = town.mallory.verdict(town.worker.deliver(granted))
    assert attach(contract, town.worker.dispute(verdict)) is contract
    named = attach(contract_of(deal(town.poster, town.worker, "awarded")), accepted)
    assert named.records == ()


def test_an_accept_of_other_terms_is_no_accept(town: Town) -> None:
    records = deal(town.poster, town.worker, "running")
    accept = records[2].body
    assert isinstance(accept, kinds.Accept)
    contract = begin(records[1])
    other = town.worker.say(msgspec.structs.replace(accept, terms=WRONG))
    assert attach(contract, other) is contract
    assert attach(contract, records[2]) is not contract


def test_times_are_not_read(town: Town) -> None:
    def signed(shift_ms: int) -> list[Row]:
        poster, worker = (Party(name, time_ms=shift_ms) for name in ("poster", "worker"))
        records = deal(poster, worker, "disputed") + deal(poster, worker, "accepted")
        assert len({record.time_ms // 100_000 for record in records}) == 1
        return [town.row(one) for one in found(records)]

    assert signed(1_000) == signed(900_000_000)


def test_evidence_hangs_on_what_it_answers(town: Town) -> None:
    records = deal(town.poster, town.worker, "silent", Deal(relays=town.relays))
    post, granted, accepted, broken, *silences = records
    assert parent_of(granted) is parent_of(post) is parent_of(town.worker.log[0]) is None
    assert parent_of(accepted) == granted.id
    assert parent_of(broken) == accepted.id
    assert [parent_of(one) for one in silences] == [broken.id] * 2
    records = deal(town.poster, town.worker, "revealed")
    _, granted, _, delivered, judged, revealed = records
    assert parent_of(delivered) == granted.id
    assert parent_of(judged) == parent_of(revealed) == delivered.id
    assert parent_of(town.worker.dispute(judged)) == judged.id
    assert parent_of(town.worker.withdraw(granted)) == granted.id
    taken_back = town.poster.say(kinds.Withdraw(post.id, None, 0, ""))
    assert parent_of(taken_back) is None


def test_parked_records_come_out_once_when_their_parent_is_there(town: Town) -> None:
    _, granted, accepted, delivered, _ = deal(town.poster, town.worker, "accepted")
    parked = Parked()
    for record in (accepted, delivered, accepted):
        parked.park(granted.id, record)
    assert len(parked) == 2
    assert parked.release(accepted.id) == ()
    assert parked.release(granted.id) == (accepted, delivered)
    assert parked.release(granted.id) == ()
    assert len(parked) == 0
