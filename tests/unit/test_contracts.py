"""What one contract proves about its worker and its poster, and what it does not."""

from collections.abc import Callable, Iterable

import msgspec
import pytest
from tests.reputation_records import PLAIN, RIGHT, WRONG, Deal, Outcome, Party, deal

from bazaar_protocol import kinds
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, Unknown
from bazaar_reputation.contracts import (
    Contract,
    attach,
    begin,
    findings,
    parent_of,
    unsettled,
    with_post,
)
from bazaar_reputation.findings import Finding
from bazaar_reputation.gathering import Parked, gather

Row = tuple[str, str | None, int, str]
Heads = Callable[[AgentId], int]
CANARY = Deal(has_canary=True, result=WRONG)


def early(_agent: AgentId) -> int:
    return 0


def late(_agent: AgentId) -> int:
    return 1_000


class Town:
    """Fresh logs for each test."""

    def __init__(self) -> None:
        names = ("poster", "worker", "judge", "sequencer", "relay", "other relay", "mallory")
        self.parties = {name: Party(name) for name in names}
        self.poster, self.worker, self.judge, self.sequencer = (
            self.parties[name] for name in names[:4]
        )
        self.relays = [self.parties["relay"], self.parties["other relay"]]
        self.mallory = self.parties["mallory"]

    def rows(self, records: Iterable[Record], heads: Heads = late) -> list[Row]:
        """Fold records and say what was found: role, rater, signed weight, why."""
        return [self.row(one) for one in found(records, heads)]

    def row(self, one: Finding) -> Row:
        names = {party.agent: name for name, party in self.parties.items()}
        rater = None if one.strand.rater is None else names[one.strand.rater]
        assert one.strand.subject in {self.poster.agent, self.worker.agent}
        assert names[one.strand.subject] == one.strand.role
        return one.strand.role, rater, one.weight * (1 if one.is_good else -1), one.why

    def deal(self, outcome: Outcome, terms: Deal = PLAIN, heads: Heads = late) -> list[Row]:
        return self.rows(deal(self.poster, self.worker, outcome, terms), heads)


@pytest.fixture
def town() -> Town:
    return Town()


def found(records: Iterable[Record], heads: Heads = late) -> list[Finding]:
    return [one for contract in gather(records).values() for one in findings(contract, heads)]


def contract_of(records: Iterable[Record]) -> Contract:
    (contract,) = gather(records).values()
    return contract


ACCEPTED: list[Row] = [
    ("worker", "poster", 1000, "accepted"),
    ("poster", "worker", 1000, "accepted"),
]
DISPUTED: list[Row] = [
    ("worker", "poster", -300, "rejected, disputed"),
    ("poster", "worker", -300, "rejected, disputed"),
]
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


# What nobody signed.


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
        links = [_as_if_by(victim, one, mallory) for one in (verdict, broken)]
        heap += [*as_worker, *made_up, *links, mallory.reveal(delivered)]
        # And awards in the name of a poster that knows nothing of them.
        post = mallory.post(title=str(number))
        granted = mallory.award(post, accomplice.agent, poster=victim.agent, judge=victim.agent)
        heap += [post, granted, accomplice.accept(granted), accomplice.deliver(granted)]
    about = [one for one in found(heap) if one.strand.subject == victim.agent]
    assert about == []
    # The same words count once the victim has signed: so it is the accept that is missing.
    assert town.rows(deal(town.poster, victim, "rejected")) != []


def _as_if_by(victim: Party, record: Record, author: Party) -> Record:
    """The same, with a link that says the victim's log has what it hangs on."""
    body = record.body
    assert isinstance(body, kinds.Verdict | kinds.Breach)
    field = "deliver" if isinstance(body, kinds.Verdict) else "accept"
    link = msgspec.structs.replace(getattr(body, field), author=victim.agent)
    return author.say(msgspec.structs.replace(body, **{field: link}))


def test_what_another_signs_in_the_place_of_an_author_changes_nothing(town: Town) -> None:
    outcomes: list[Outcome] = ["running", "silent", "withdrawn", "disputed", "revealed"]
    for outcome in outcomes:
        records = deal(town.poster, town.worker, outcome, Deal(relays=town.relays, has_canary=True))
        contract = contract_of(records)
        for record in records[2:]:
            assert not isinstance(record.body, Unknown)
            assert attach(contract, town.mallory.say(record.body)) is contract
            assert attach(contract, record) is contract


def test_a_record_of_another_epoch_task_or_award_changes_nothing(town: Town) -> None:
    records = deal(town.poster, town.worker, "disputed")
    contract = contract_of(records)
    parties = {party.agent: party for party in town.parties.values()}
    for record in records[2:]:
        for change in ({"epoch": 2}, {"task": WRONG}):
            twisted = msgspec.structs.replace(record.body, **change)
            assert not isinstance(twisted, Unknown)
            assert attach(contract, parties[record.author].say(twisted)) is contract
    for record in deal(town.poster, town.worker, "disputed"):
        assert attach(contract, record) is contract


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


# Those who deal with themselves, and those who are no third party.


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


# Those who sign more than one.


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
    forged = _as_if_by(town.worker, made_up, town.poster)
    contract = contract_of([records[0], *records])
    assert findings(attach(contract, forged), late) == ()
    # Nor does it, when the worker has signed another.
    delivered = town.worker.deliver(records[1])
    rows = town.rows([*records, delivered, forged])
    assert rows == [("poster", "worker", -500, "no verdict")]


def test_a_verdict_decides_over_a_breach_that_crossed_the_result(town: Town) -> None:
    records = deal(town.poster, town.worker, "accepted", Deal(sequencer=town.sequencer))
    crossed = town.sequencer.breach(records[2])
    assert town.rows([*records, crossed]) == ACCEPTED
    assert town.rows([*records[:4], crossed]) == [("worker", "sequencer", -500, "breach")]


def test_who_withdraws_after_the_deadline_has_still_broken_the_lease(town: Town) -> None:
    records = deal(town.poster, town.worker, "breached")
    assert town.rows([*records, town.worker.withdraw(records[1])]) == town.rows(records)


# What the post says: canaries and hashes.


def test_a_canary_that_was_missed_stands_against_a_dispute(town: Town) -> None:
    records = deal(town.poster, town.worker, "revealed", CANARY)
    row = ("worker", "poster", -1000, "rejected, canary")
    assert town.rows(records) == town.rows(records, early) == [row]
    disputed = [*records, town.worker.dispute(records[4])]
    # The worker's word weighs what the worker weighs, and the canary does not silence it.
    assert town.rows(disputed) == [row, DISPUTED[1]]
    assert town.rows(disputed[1:]) == DISPUTED  # without the post a canary is no canary


def test_a_canary_needs_no_verdict_and_yields_to_one(town: Town) -> None:
    records = deal(town.poster, town.worker, "revealed", CANARY)
    without = [*records[:4], records[5]]
    assert town.rows(without) == [("worker", "poster", -1000, "rejected, canary")]
    accepted = town.poster.verdict(records[3], accepted=True)
    assert town.rows([*without, accepted]) == ACCEPTED


def test_only_the_poster_opens_a_canary_and_only_that_of_its_post(town: Town) -> None:
    records = deal(town.poster, town.worker, "disputed", CANARY)
    delivered = records[3]
    for reveal in (
        town.mallory.reveal(delivered),
        town.poster.reveal(delivered, salt=WRONG),
        town.poster.reveal(delivered, digest=WRONG),
    ):
        assert town.rows([*records, reveal]) == DISPUTED
    assert town.rows([*records, town.poster.reveal(delivered)]) != DISPUTED
    plain = deal(town.poster, town.worker, "disputed", Deal(result=WRONG))
    assert town.rows([*plain, town.poster.reveal(plain[3])]) == DISPUTED


def test_a_canary_adds_the_posters_word_to_that_of_another_judge(town: Town) -> None:
    """Neither signature makes the other's rater say more or less."""
    terms = Deal(has_canary=True, result=WRONG, judge=town.judge)
    records = deal(town.poster, town.worker, "revealed", terms)
    disputed = [*records, town.worker.dispute(records[4])]
    assert town.rows(disputed)[:2] == [
        ("worker", "judge", -300, "rejected, disputed"),
        ("worker", "poster", -700, "rejected, canary"),
    ]
    assert town.rows(records) == [("worker", "judge", -1000, "rejected")]


def test_a_poster_cannot_take_back_the_word_of_another_judge(town: Town) -> None:
    """A Sybil poster would let its Sybil worker try for an evaluator's word without a risk."""
    terms = Deal(has_canary=True, result=RIGHT, judge=town.judge)
    records = deal(town.poster, town.worker, "revealed", terms)
    assert town.rows(records) == [("worker", "judge", -1000, "rejected")]


def test_a_judge_that_rejects_its_own_answer_was_unjust(town: Town) -> None:
    unjust = [("poster", "worker", -1000, "unjust rejection")]
    assert town.deal("revealed", Deal(has_canary=True)) == unjust
    assert town.deal("rejected", Deal(is_hashed=True)) == unjust
    assert town.deal("disputed", Deal(is_hashed=True)) == unjust


def test_a_wrong_hash_counts_whoever_the_rater_and_whatever_the_verdict(town: Town) -> None:
    terms = Deal(is_hashed=True, result=WRONG)
    row = ("worker", None, -1000, "wrong hash")
    for outcome in ("delivered", "accepted", "rejected"):
        assert town.deal(outcome, terms)[0] == row
    records = deal(town.poster, town.worker, "rejected", terms)
    assert town.rows(records[1:]) == [("worker", "poster", -1000, "rejected")]
    assert town.rows([*records[:2], records[3]]) == []  # it has not accepted
    (finding,) = found(records)
    assert (finding.record, finding.round) == (records[3].id, records[3].seq // 2)


def test_a_right_hash_beside_a_wrong_one_does_not_hide_it(town: Town) -> None:
    records = deal(town.poster, town.worker, "accepted", Deal(is_hashed=True))
    second = town.worker.deliver(records[1], WRONG)
    assert town.rows([*records, second])[0][3] == "wrong hash"


def test_the_post_has_to_be_that_of_the_award(town: Town) -> None:
    records = deal(town.poster, town.worker, "delivered", Deal(is_hashed=True, result=WRONG))
    contract = begin(records[1])
    other = town.poster.post()
    assert with_post(contract, other) is contract
    assert with_post(contract, records[2]) is contract
    posted = with_post(contract, records[0])
    assert posted.post == records[0]
    assert with_post(posted, records[0]) is posted
    # Somebody else's post with the name of the poster in the award.
    post = town.mallory.post(acceptance=kinds.Acceptance("hash", RIGHT, None, 1_000))
    granted = town.mallory.award(post, town.worker.agent, poster=town.poster.agent)
    assert with_post(begin(granted), post) == begin(granted)


# What a poster answers for.


def test_a_poster_answers_for_what_it_signed_itself(town: Town) -> None:
    """By its award, its verdict, or its post; a sequencer's word alone binds it to nothing."""
    relayed = Deal(sequencer=town.sequencer, judge=town.judge)
    records = deal(town.poster, town.worker, "disputed", relayed)
    row: Row = ("worker", "judge", -300, "rejected, disputed")
    assert town.rows(records[1:]) == [row]
    assert town.rows(records) == [row, DISPUTED[1]]
    own = Deal(sequencer=town.sequencer)
    records = deal(town.poster, town.worker, "disputed", own)
    assert town.rows(records[1:]) == DISPUTED


@pytest.mark.parametrize(
    "changes",
    [{"judge": Party("judge").agent}, {"capability": "another.one"}, {"price": 101}],
    ids=lambda changes: next(iter(changes)),
)
def test_an_award_that_departs_from_the_post_does_not_bind_its_poster(
    town: Town, changes: dict[str, object]
) -> None:
    post = town.poster.post(sequencer=town.sequencer.agent)
    granted = town.sequencer.award(post, town.worker.agent, **changes)
    delivered = town.worker.deliver(granted)
    signed = [post, granted, town.worker.accept(granted), delivered]
    judge = town.judge if "judge" in changes else town.poster
    verdict = judge.verdict(delivered, accepted=False)
    rows = town.rows([*signed, verdict, town.worker.dispute(verdict)])
    of_poster = [row for row in rows if row[0] == "poster"]
    assert of_poster == ([] if judge is town.judge else DISPUTED[1:])


def test_nor_does_the_award_of_one_whom_the_post_does_not_name(town: Town) -> None:
    post = town.poster.post(acceptance=kinds.Acceptance("evaluator", b"", town.judge.agent, 1_000))
    granted = town.mallory.award(post, town.worker.agent)
    delivered = town.worker.deliver(granted)
    verdict = town.judge.verdict(delivered, accepted=False)
    signed = [post, granted, town.worker.accept(granted), delivered, verdict]
    rows = town.rows([*signed, town.worker.dispute(verdict)])
    assert [row for row in rows if row[0] == "poster"] == []


def test_no_verdict_is_owed_after_the_lease_was_over(town: Town) -> None:
    """Else a worker could sign a result long after, and complain of it."""
    records = deal(town.poster, town.worker, "delivered")
    owed = [("poster", "worker", -500, "no verdict")]
    assert town.rows(records) == owed
    assert town.rows([*records, town.worker.withdraw(records[1])]) == []
    assert [row[0] for row in town.rows([*records, town.poster.breach(records[2])])] == ["worker"]


def test_where_a_relay_awards_nothing_says_how_long_the_poster_was_silent(town: Town) -> None:
    assert town.deal("delivered", Deal(sequencer=town.sequencer)) == []


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
