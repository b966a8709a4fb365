"""Receipts, omissions, canaries and stamps: who lies is convicted, who does not is never."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from hypothesis.strategies import SearchStrategy
from tests.strategies import ADA, BO, CY, make_post, structs

from bazaar_protocol import evidence, kinds, limits, merkle, records
from bazaar_protocol.errors import BadSignature, MalformedRecord
from bazaar_protocol.evidence_kinds import Intake, Omission, Reveal, Stamp, Statement
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record

RELAY, OTHER = Keypair.from_name("relay"), Keypair.from_name("another relay")
NOBODY = Link(CY.agent, 3, bytes(32))
REFUSED = (MalformedRecord, BadSignature)


@dataclass
class Log:
    """What one agent has said, all of it."""

    keys: Keypair
    entries: list[Record] = field(default_factory=list)

    def say(self, body: kinds.Body) -> Record:
        head = self.head
        record = records.seal(self.keys, body, time_ms=5, seq=head.seq + 1, prev=head.id)
        self.entries.append(record)
        return record

    def go_on(self) -> Record:
        """Say something: it does not matter what."""
        if not self.entries:
            return self.say(kinds.Genesis(bytes(32)))
        return self.say(kinds.Verdict(bytes(32), NOBODY, 1, accepted=True, reason="", criteria=()))

    @property
    def head(self) -> Head:
        return Head.of(self.entries[-1]) if self.entries else Head.empty()


class Relay:
    """Accepts entries, gives receipts and answers, honestly or not."""

    def __init__(self, keys: Keypair = RELAY) -> None:
        self.log = Log(keys)
        self.log.go_on()
        self.heads: dict[AgentId, Head] = {}
        self.accepted: list[Record] = []
        self.receipts: list[tuple[Record, list[Record]]] = []
        self.statements: list[Record] = []

    def accept(self, record: Record) -> None:
        self.accepted.append(record)
        self.heads[record.author] = Head.of(record)

    def give_receipt(self) -> None:
        ids = [record.id for record in self.accepted]
        intake = self.log.say(Intake(merkle.tree_hash(ids), len(ids), 1))
        self.receipts.append((intake, self.accepted))
        self.accepted = []

    def state(self, author: AgentId, head: Head | None = None) -> Record:
        head = head or self.heads.get(author, Head.empty())
        newest = head.id if head.seq else b""
        body = Statement(author, head.seq, newest, self.log.head.seq)
        self.statements.append(records.seal(self.log.keys, body, time_ms=6))
        return self.statements[-1]

    def charges(self) -> Iterator[Omission]:
        """Everything that could be held against it, sense or not."""
        for statement in self.statements:
            for intake, accepted in self.receipts:
                ids = [record.id for record in accepted]
                for index, entry in enumerate(accepted):
                    path = merkle.inclusion_path(ids, index)
                    yield Omission(statement.raw, intake.raw, entry.raw, index, path)


def is_convicted(relay: Relay) -> bool:
    convicted: set[AgentId] = set()
    for charge in relay.charges():
        try:
            convicted.add(evidence.check_omission(charge))
        except MalformedRecord:
            continue
    assert convicted <= {relay.log.keys.agent}
    return bool(convicted)


STEPS = st.lists(
    st.sampled_from(["ada", "bo", "ada", "bo", "receipt", "state ada", "state bo"]), max_size=24
)


def run(relay: Relay, steps: list[str]) -> dict[str, Log]:
    logs = {"ada": Log(ADA), "bo": Log(BO)}
    for step in steps:
        if step in logs:
            relay.accept(logs[step].go_on())
        elif step == "receipt":
            relay.give_receipt()
        else:
            relay.state(logs[step.removeprefix("state ")].keys.agent)
    return logs


@given(STEPS)
def test_an_honest_relay_is_never_convicted(steps: list[str]) -> None:
    relay = Relay()
    run(relay, steps)
    assert not is_convicted(relay)


@given(STEPS, st.integers(1, 6), st.data())
def test_a_relay_that_states_less_than_its_receipts_is_convicted(
    steps: list[str], count: int, data: st.DataObject
) -> None:
    relay = Relay()
    ada = run(relay, steps)["ada"]
    for _ in range(count):
        relay.accept(ada.go_on())
    relay.give_receipt()
    shown = data.draw(st.integers(0, len(ada.entries) - 1))
    relay.state(ADA.agent, Head.of(ada.entries[shown - 1]) if shown else Head.empty())
    assert is_convicted(relay)
    travelling = next(iter(relay.charges()))
    sealed = records.seal(CY, travelling, time_ms=7)
    assert records.unseal(sealed.raw).body == travelling


def proved() -> tuple[Omission, Relay, Log]:
    """A relay that has receipts for five entries of ada's and states two; and ada's log."""
    relay, ada = Relay(), Log(ADA)
    for _ in range(5):
        relay.accept(ada.go_on())
    relay.give_receipt()
    relay.state(ADA.agent, Head.of(ada.entries[1]))
    return list(relay.charges())[3], relay, ada


PROVED, LIAR, LEFT_OUT = proved()


def change_raw(raw: bytes) -> SearchStrategy[bytes]:
    def flip(bit: int) -> bytes:
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        return bytes(flipped)

    return st.integers(0, len(raw) * 8 - 1).map(flip) | st.binary(max_size=99)


def change_path(path: tuple[bytes, ...]) -> SearchStrategy[tuple[bytes, ...]]:
    one = st.integers(0, len(path) - 1)
    flipped = st.tuples(one, st.integers(0, 255)).map(
        lambda at: (*path[: at[0]], flip_bit(path[at[0]], at[1]), *path[at[0] + 1 :])
    )
    cut = one.map(lambda at: path[:at] + path[at + 1 :])
    longer = one.map(lambda at: (*path[:at], path[at], *path[at:]))
    return st.one_of(flipped, cut, longer, st.just(()))


def flip_bit(value: bytes, bit: int) -> bytes:
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")


CHANGES: dict[str, SearchStrategy[Any]] = {
    "statement": change_raw(PROVED.statement),
    "intake": change_raw(PROVED.intake),
    "entry": change_raw(PROVED.entry),
    "index": st.integers(0, limits.INTEGER_MAX).filter(lambda index: index != PROVED.index),
    "path": change_path(PROVED.path),
}


def test_every_field_of_an_omission_has_changes() -> None:
    assert set(CHANGES) == set(Omission.__struct_fields__)


@pytest.mark.parametrize("name", sorted(CHANGES))
@given(data=st.data())
def test_an_omission_with_any_field_changed_convicts_nobody(name: str, data: st.DataObject) -> None:
    assert evidence.check_omission(PROVED) == RELAY.agent
    changed = msgspec.structs.replace(PROVED, **{name: data.draw(CHANGES[name])})
    with pytest.raises(REFUSED):
        evidence.check_omission(changed)


def stated(keys: Keypair = RELAY, **changes: Any) -> bytes:
    """What the liar stated, with ``changes``."""
    body = LIAR.statements[0].body
    assert isinstance(body, Statement)
    return records.seal(keys, msgspec.structs.replace(body, **changes), time_ms=6).raw


def body_of(record: Record) -> kinds.Body:
    assert not isinstance(record.body, records.Unknown)
    return record.body


FOURTH = LEFT_OUT.entries[3]


@pytest.mark.parametrize(
    "changes",
    [
        {"statement": stated(OTHER)},
        {"statement": stated(own_seq=LIAR.receipts[0][0].seq - 1)},
        {"statement": stated(own_seq=0)},
        {"statement": stated(author=BO.agent)},
        {"statement": stated(seq=FOURTH.seq, id=FOURTH.id)},
        {"statement": stated(seq=FOURTH.seq + 1, id=bytes(32))},
        {"statement": stated(seq=0)},
        {"statement": stated(id=b"")},
        {"statement": PROVED.intake},
        {"intake": PROVED.statement},
        {"intake": records.seal(
            OTHER, body_of(LIAR.receipts[0][0]), time_ms=5, seq=2, prev=bytes(31) + b"1"
        ).raw},
        {"entry": LEFT_OUT.entries[4].raw},
        {"entry": records.seal(
            ADA, body_of(FOURTH), time_ms=6, seq=FOURTH.seq, prev=FOURTH.prev
        ).raw},
        {"entry": records.seal(ADA, kinds.Decline(bytes(32), 0, "busy", 0), time_ms=5).raw},
    ],
)  # fmt: skip
def test_records_that_do_not_contradict_each_other_convict_nobody(changes: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        evidence.check_omission(msgspec.structs.replace(PROVED, **changes))


def test_only_what_was_true_when_it_was_stated_counts() -> None:
    """What is a lie after a receipt was true before it."""
    relay, ada = Relay(), Log(ADA)
    relay.accept(ada.go_on())
    relay.state(ADA.agent)
    relay.accept(ada.go_on())
    relay.give_receipt()
    assert not is_convicted(relay)
    relay.state(ADA.agent, Head.of(ada.entries[0]))
    assert is_convicted(relay)


@given(structs(Omission))
def test_garbage_convicts_nobody(body: Omission) -> None:
    with pytest.raises(REFUSED):
        evidence.check_omission(body)


def test_a_receipt_is_an_intake_and_a_statement_a_statement() -> None:
    intake, accepted = LIAR.receipts[0]
    body = evidence.check_receipt(intake, FOURTH.id, PROVED.index, PROVED.path)
    assert body.count == len(accepted) == 5
    with pytest.raises(MalformedRecord):
        evidence.check_receipt(FOURTH, FOURTH.id, PROVED.index, PROVED.path)
    with pytest.raises(MalformedRecord):
        evidence.check_receipt(intake, LEFT_OUT.entries[2].id, PROVED.index, PROVED.path)
    assert evidence.check_statement(LIAR.statements[0]).seq == 2
    with pytest.raises(MalformedRecord):
        evidence.check_statement(intake)


hashes = st.binary(min_size=32, max_size=32)


@given(hashes, hashes, st.integers(0, 255), st.integers(0, 2))
def test_a_canary_opens_with_what_it_was_made_of_alone(
    salt: bytes, digest: bytes, bit: int, part: int
) -> None:
    body = make_post(canary=evidence.canary(salt, digest))
    post = records.seal(ADA, body, time_ms=5)
    right = [post.id, salt, digest]
    evidence.check_reveal(post, Reveal(right[0], NOBODY, right[1], right[2]))
    right[part] = records.RecordId(flip_bit(right[part], bit))
    with pytest.raises(MalformedRecord):
        evidence.check_reveal(post, Reveal(right[0], NOBODY, right[1], right[2]))


def test_what_has_no_canary_opens_with_nothing() -> None:
    bare = records.seal(ADA, make_post(), time_ms=5)
    decline = records.seal(ADA, kinds.Decline(bytes(32), 0, "busy", 0), time_ms=5)
    for record in (bare, decline, LIAR.statements[0]):
        with pytest.raises(MalformedRecord):
            evidence.check_reveal(record, Reveal(record.id, NOBODY, bytes(32), bytes(32)))


def counted_bits(agent: bytes, body: Stamp) -> int:
    """As the document says it, in other words."""
    head = b"bazaar/stamp/1\0" + body.relay + agent
    digest = sha256(head + body.day.to_bytes(8, "big") + body.nonce).digest()
    bits = "".join(f"{byte:08b}" for byte in digest)
    return len(bits) - len(bits.lstrip("0"))


@given(structs(Stamp), hashes)
def test_the_work_in_a_stamp_is_what_the_document_says(body: Stamp, agent: bytes) -> None:
    assert evidence.stamp_bits(AgentId(agent), body) == counted_bits(agent, body)


@given(st.integers(0, 9), st.integers(0, 30_000), st.sampled_from([b"", RELAY.agent]))
def test_a_stamp_that_is_found_has_its_work_and_is_the_first(
    bits: int, day: int, relay: bytes
) -> None:
    found = evidence.find_stamp(ADA.agent, day=day, bits=bits, relay=relay, numbers=range(2**14))
    assert found is not None
    assert (found.relay, found.day) == (relay, day)
    assert evidence.stamp_bits(ADA.agent, found) >= bits
    number = int.from_bytes(found.nonce, "big")
    before = range(number)
    none = evidence.find_stamp(ADA.agent, day=day, bits=bits, relay=relay, numbers=before)
    assert none is None
    again = range(number, number + 1)
    same = evidence.find_stamp(ADA.agent, day=day, bits=bits, relay=relay, numbers=again)
    assert same == found


def test_a_stamp_is_of_one_agent_for_one_relay_on_one_day() -> None:
    found = evidence.find_stamp(
        ADA.agent, day=20_000, bits=14, relay=RELAY.agent, numbers=range(2**18)
    )
    assert found is not None
    assert evidence.stamp_bits(ADA.agent, found) >= 14
    assert evidence.stamp_bits(BO.agent, found) < 14
    for changes in ({"relay": b""}, {"relay": OTHER.agent}, {"day": 20_001}, {"nonce": bytes(32)}):
        other = msgspec.structs.replace(found, **changes)
        assert evidence.stamp_bits(ADA.agent, other) < 14
