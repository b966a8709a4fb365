"""Any heap of records about a few awards, true and false: all who hold it read the same in it.

The heap knows no manners: anyone signs anything about anything, with wrong links, epochs and
tasks, several times over, and it arrives in any order, a child before its parent.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import msgspec
from hypothesis import given, strategies as st
from tests.reputation_records import RIGHT, SALT, WRONG, Party

from bazaar_protocol import evidence, evidence_kinds, kinds
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import award_of, link_to
from bazaar_reputation.contracts import Contract, attach, begin, findings, unsettled, with_post
from bazaar_reputation.findings import Finding, StrandKey
from bazaar_reputation.gathering import gather
from bazaar_reputation.strands import Tally, fold

NAMES = ("poster", "worker", "judge", "sequencer", "relay", "another", "mallory")
EVIDENCE = ("accept", "deliver", "withdraw", "breach", "verdict", "reveal", "dispute", "silence")
HANGS_ON = {
    "accept": "award", "deliver": "award", "withdraw": "award", "breach": "accept",
    "verdict": "deliver", "reveal": "deliver", "dispute": "verdict", "silence": "breach",
}  # fmt: skip
RIGHTFUL = {
    "accept": "worker", "deliver": "worker", "withdraw": "worker", "dispute": "worker",
    "verdict": "judge", "reveal": "poster", "breach": "sequencer", "silence": "relay",
}  # fmt: skip


class Heap:
    """Records of a few awards, by the decisions that ``draw`` makes."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.parties = {name: Party(name) for name in NAMES}
        self.records: list[Record] = []
        for _ in range(draw(st.integers(1, 2))):
            self.award()
        for _ in range(draw(st.integers(0, 40))):
            self.say()

    def one_of(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def award(self) -> None:
        by = self.parties
        judge = self.one_of("poster", "poster", "judge", "worker")
        sequencer = self.one_of("poster", "sequencer", "worker")
        expected = self.draw(st.sampled_from([b"", RIGHT]))
        method: Literal["hash", "schema"] = "hash" if expected else "schema"
        canary = self.draw(st.sampled_from([b"", evidence.canary(SALT, RIGHT)]))
        post = by["poster"].post(
            sequencer=by[sequencer].agent,
            acceptance=kinds.Acceptance(method, expected, None, 1_000),
            canary=canary,
        )
        names = self.draw(st.lists(st.sampled_from(NAMES), max_size=4))
        worker = self.one_of("worker", "worker", "worker", "poster")
        granted = by[sequencer].award(
            post,
            by[worker].agent,
            judge=by[judge].agent,
            relays=tuple(by[name].agent for name in names),
        )
        self.records += [post, granted]
        if self.draw(st.integers(0, 3)):
            self.records.append(by[worker].accept(granted))
            self.records.append(by[worker].deliver(granted))

    def say(self) -> None:
        """Have somebody sign something, most often who may."""
        # Most of it is early in a deal, so that there is something for the rest to hang on.
        kind = self.one_of("accept", "deliver", "accept", "deliver", *EVIDENCE)
        parents = [one for one in self.records if one.kind == HANGS_ON[kind]]
        if not parents:
            return
        parent = self.draw(st.sampled_from(parents))
        rightful = self.one_of(RIGHTFUL[kind], RIGHTFUL[kind], RIGHTFUL[kind], *NAMES)
        body = self.body(kind, parent)
        if self.draw(st.integers(0, 5)) == 0:
            body = msgspec.structs.replace(body, task=WRONG)
        self.records.append(self.parties[rightful].say(body))

    def body(self, kind: str, parent: Record) -> kinds.Body:
        task: bytes = getattr(parent.body, "task", RIGHT)
        epoch = 2 if self.draw(st.integers(0, 9)) == 0 else 1
        link = link_to(parent)
        if self.draw(st.integers(0, 7)) == 0:
            link = Link(link.author, link.seq, RecordId(WRONG))
        result = self.draw(st.sampled_from([RIGHT, WRONG]))
        match kind:
            case "accept":
                version = self.draw(st.integers(1, 2))
                return kinds.Accept(task, link, epoch, award_of(parent).terms, version, b"")
            case "deliver":
                return kinds.Deliver(task, link, epoch, result, 5, "", ())
            case "withdraw":
                return kinds.Withdraw(task, link, epoch, "")
            case "breach":
                return kinds.Breach(task, link, epoch, "heartbeat")
            case "verdict":
                return kinds.Verdict(task, link, epoch, self.draw(st.booleans()), "", ())
            case "reveal":
                return evidence_kinds.Reveal(task, link, SALT, result)
            case "dispute":
                return evidence_kinds.Dispute(task, link, epoch, "")
            case _:
                return evidence_kinds.Silence(task, link, epoch)


@st.composite
def heaps(draw: st.DrawFn) -> list[Record]:
    return Heap(draw).records


def heads_of(records: Iterable[Record]) -> dict[AgentId, int]:
    heads: dict[AgentId, int] = defaultdict(int)
    for record in records:
        heads[record.author] = max(heads[record.author], record.seq)
    return heads


def found(contracts: dict[RecordId, Contract], heads: dict[AgentId, int]) -> set[Finding]:
    return {
        one
        for contract in contracts.values()
        for one in findings(contract, lambda agent: heads.get(agent, 0))
    }


def tallies(found: Iterable[Finding]) -> dict[StrandKey, Tally]:
    by_strand: dict[StrandKey, list[Finding]] = defaultdict(list)
    for one in found:
        by_strand[one.strand].append(one)
    return {strand: fold(parts) for strand, parts in by_strand.items()}


@given(heaps(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(records: list[Record], chance: random.Random) -> None:
    shuffled = records + chance.sample(records, len(records) // 2)
    chance.shuffle(shuffled)
    once, again = gather(records), gather(shuffled)
    assert once == again
    heads = heads_of(records)
    assert found(once, heads) == found(again, heads)
    # repr shows every digit of a float
    first, second = (tallies(found(contracts, heads)) for contracts in (once, again))
    assert {key: repr(tally) for key, tally in first.items()} == {
        key: repr(tally) for key, tally in second.items()
    }
    assert [unsettled(once[key]) for key in once] == [unsettled(again[key]) for key in once]


@given(heaps(), st.randoms(use_true_random=False))
def test_nor_does_it_where_no_parent_is_waited_for(
    records: list[Record], chance: random.Random
) -> None:
    """Whoever offers a contract everything there is comes to the same findings as who routes."""
    heads = heads_of(records)
    shuffled = [*records]
    chance.shuffle(shuffled)
    offered: dict[RecordId, Contract] = {}
    for granted in (one for one in records if one.kind == "award"):
        contract = begin(granted)
        for record in shuffled:
            contract = with_post(attach(contract, record), record)
        offered[granted.id] = contract
    assert found(offered, heads) == found(gather(records), heads)


@given(heaps())
def test_a_contract_weighs_one_job_and_each_word_is_its_raters(records: list[Record]) -> None:
    heads, by_id = heads_of(records), {record.id: record for record in records}
    for contract in gather(records).values():
        weights: dict[tuple[str, AgentId], int] = defaultdict(int)
        terms = contract.terms
        for one in findings(contract, lambda agent: heads.get(agent, 0)):
            strand, decided = one.strand, by_id[one.record]
            weights[strand.role, strand.subject] += one.weight
            assert strand.subject == {"worker": terms.worker, "poster": terms.poster}[strand.role]
            assert strand.rater != strand.subject
            assert decided.author == (strand.rater or strand.subject)
            assert one.round == decided.seq // 2
            assert 0 < one.weight <= 1_000
            assert one.is_good == (one.why == "accepted")
        assert all(weight <= 1_000 for weight in weights.values())


@given(heaps(), st.sets(st.sampled_from(NAMES)))
def test_nothing_counts_for_whom_nothing_is_signed(records: list[Record], gone: set[str]) -> None:
    """Take away all that some agents signed: then nothing is about them, and none of it theirs."""
    agents = {Party(name).agent for name in gone}
    left = [record for record in records if record.author not in agents]
    for one in found(gather(left), heads_of(records)):
        assert one.strand.rater not in agents
        assert one.strand.subject not in agents


@given(heaps())
def test_a_question_is_open_exactly_while_an_answer_can_still_change(records: list[Record]) -> None:
    """Whoever asks again when ``unsettled`` says so misses no change that time brings."""
    for contract in gather(records).values():
        places = unsettled(contract)
        steps = sorted({0, *(seq for _, seq in places), 10**6})
        answers = {findings_at(contract, seq) for seq in steps}
        assert (len(answers) > 1) == bool(places)
        for before, after in pairwise(steps):
            assert findings_at(contract, before) == findings_at(contract, after - 1)


def findings_at(contract: Contract, head: int) -> tuple[Finding, ...]:
    return findings(contract, lambda _: head)
