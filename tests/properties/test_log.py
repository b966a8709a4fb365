"""Chains: one signature speaks for all, and any change behind it shows."""

import itertools
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, strategies as st
from tests.strategies import ADA, BO, CY, array

from bazaar_protocol import codec, evidence_kinds, fields, kinds, log, records
from bazaar_protocol.errors import (
    BadSignature,
    BrokenChain,
    Contradiction,
    Equivocation,
    MalformedRecord,
    RemoteError,
)
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record

RECOVERY = Keypair.from_name("ada's recovery key")


def entry(keys: Keypair, head: Head, text: str = "") -> Record:
    if head.seq == 0:
        body: kinds.Body = kinds.Genesis(log.recovery_hash(RECOVERY.agent))
    else:
        link = fields.Link(CY.agent, 3, bytes(32))
        body = kinds.Verdict(bytes(32), link, 1, True, text, ())
    return records.seal(keys, body, time_ms=5, seq=head.seq + 1, prev=head.id)


def chain(keys: Keypair, count: int, text: str = "") -> list[Record]:
    entries: list[Record] = []
    head = Head.empty()
    for _ in range(count):
        entries.append(entry(keys, head, text))
        head = Head.of(entries[-1])
    return entries


LOG = chain(ADA, 12)
RAWS = [record.raw for record in LOG]
OTHER = chain(ADA, 12, "other")
REFUSED = (MalformedRecord, BrokenChain, BadSignature)


def junk_signature(raw: bytes) -> bytes:
    payload, _ = msgspec.msgpack.decode(raw)
    return array(codec.encode(payload), codec.encode(b"\x07" * 64))


@given(st.integers(0, 12), st.integers(0, 12))
def test_every_part_of_a_log_is_a_segment(first: int, last: int) -> None:
    after = Head.of(LOG[first - 1]) if first else Head.empty()
    assert log.check_segment(RAWS[first:last], after, author=ADA.agent) == LOG[first:last]
    assert log.check_segment(RAWS[first:last]) == LOG[first:last]


@given(st.data())
def test_any_one_change_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 11))
    change = data.draw(st.sampled_from(["flip", "drop", "swap", "repeat", "replace", "junk"]))
    raws = list(RAWS)
    if change == "flip":
        raw = bytearray(raws[at])
        bit = data.draw(st.integers(0, len(raw) * 8 - 1))
        raw[bit // 8] ^= 1 << bit % 8
        raws[at] = bytes(raw)
    elif change == "drop":
        at = data.draw(st.integers(0, 10))  # without its newest it is a segment all the same
        del raws[at]
    elif change == "swap":
        other = data.draw(st.integers(0, 11).filter(lambda index: index != at))
        raws[at], raws[other] = raws[other], raws[at]
    elif change == "repeat":
        raws.insert(at, raws[at])
    elif change == "junk":
        raws[at] = junk_signature(raws[at])
    else:
        at = data.draw(st.integers(1, 11))
        raws[at] = OTHER[at].raw
    with pytest.raises(REFUSED):
        log.check_segment(raws, Head.empty(), author=ADA.agent)


def test_a_segment_is_of_the_author_that_was_asked_for() -> None:
    """Another agent can sign an entry that claims to follow ada's head."""
    head = Head.of(LOG[4])
    raws = [entry(BO, head).raw]
    assert log.check_segment(raws, head)[0].author == BO.agent
    with pytest.raises(BrokenChain):
        log.check_segment(raws, head, author=ADA.agent)
    with pytest.raises(BrokenChain):
        log.check_segment([RAWS[4], entry(BO, head).raw])


def test_loose_records_and_nothing_are_no_segment() -> None:
    assert log.check_segment([]) == []
    loose = records.seal(ADA, kinds.Decline(bytes(32), 0, "busy", 0), time_ms=5).raw
    for raws in ([loose], [*RAWS, loose], [loose, *RAWS]):
        with pytest.raises((MalformedRecord, BrokenChain)):
            log.check_segment(raws)


def test_a_head_moves_by_one_entry_at_a_time() -> None:
    head = Head.empty()
    for record in LOG:
        head = head.follow(record)
    assert head == Head.of(LOG[-1])
    for wrong in (LOG[-1], LOG[0], OTHER[3]):
        with pytest.raises(BrokenChain):
            Head.of(LOG[2]).follow(wrong) if wrong is OTHER[3] else head.follow(wrong)


@dataclass(frozen=True)
class Pair:
    first: Record
    second: Record


def prove(pair: Pair) -> AgentId:
    with pytest.raises(Equivocation) as caught:
        log.detect_fork(pair.first, pair.second)
    return log.check_proof(evidence_kinds.Proof("equivocation", caught.value.proof))


@given(st.integers(0, 10), st.booleans())
def test_a_fork_becomes_a_proof_that_travels(seq: int, is_swapped: bool) -> None:
    other = entry(ADA, Head.of(LOG[seq]), "other")
    pair = Pair(other, LOG[seq + 1]) if is_swapped else Pair(LOG[seq + 1], other)
    assert prove(pair) == ADA.agent
    proof = evidence_kinds.Proof("equivocation", (pair.first.raw, pair.second.raw))
    sealed = records.unseal(records.seal(BO, proof, time_ms=9).raw)
    assert isinstance(sealed.body, evidence_kinds.Proof)
    assert log.check_proof(sealed.body) == ADA.agent


@given(st.integers(1, 10), st.integers(0, 8), st.integers(1, 8))
def test_a_reset_and_all_behind_it_convict_nobody(parted: int, lost: int, more: int) -> None:
    """An agent signed ``lost`` more entries, lost them, was reset, and signed ``more``."""
    branches: list[list[Record]] = []
    for first, count in ((entry(ADA, Head.of(LOG[parted]), "lost"), lost), (None, more)):
        head = Head.of(LOG[parted])
        branch = [first or records.seal(
            ADA, evidence_kinds.Reset("an old backup"), time_ms=6, seq=head.seq + 1, prev=head.id
        )]  # fmt: skip
        while len(branch) <= count:
            branch.append(entry(ADA, Head.of(branch[-1]), f"after {first is None}"))
        branches.append(branch)
    for left, right in itertools.product(*branches):
        for one, other in ((left, right), (right, left)):
            proof = evidence_kinds.Proof("equivocation", (one.raw, other.raw))
            with pytest.raises(MalformedRecord):
                log.check_proof(proof)
            if one.seq == other.seq:
                with pytest.raises(Contradiction) as caught:
                    log.detect_fork(one, other)
                assert not isinstance(caught.value, Equivocation)


LOOSE = records.seal(ADA, kinds.Decline(bytes(32), 0, "busy", 0), time_ms=5).raw
LOOSE2 = records.seal(ADA, kinds.Decline(bytes(32), 0, "price", 0), time_ms=5).raw


@pytest.mark.parametrize(
    "raws",
    [
        (LOG[3].raw, LOG[3].raw),
        (LOG[3].raw, OTHER[4].raw),
        (LOG[3].raw, entry(BO, Head.of(LOG[2])).raw),
        (LOOSE, LOOSE2),
        (LOG[3].raw,),
        (LOG[3].raw, junk_signature(OTHER[3].raw)),
        (junk_signature(LOG[3].raw), OTHER[3].raw),
        (LOG[3].raw, junk_signature(LOG[3].raw)),
        (LOG[3].raw, b"\x90"),
        (LOG[3].raw, b""),
    ],
)
def test_a_false_proof_convicts_nobody(raws: tuple[bytes, ...]) -> None:
    with pytest.raises((MalformedRecord, BadSignature)):
        log.check_proof(evidence_kinds.Proof("equivocation", raws))
    with pytest.raises(MalformedRecord):
        log.check_proof(evidence_kinds.Proof("omission", raws))


def succession(
    keys: Keypair = RECOVERY, old: bytes = ADA.agent, new: bytes = BO.agent, last: int = 3
) -> Record:
    last_id = LOG[last - 1].id if last else b""
    return records.seal(keys, evidence_kinds.Succession(old, last, last_id, new), time_ms=9)


def test_only_the_recovery_key_ends_an_identity() -> None:
    assert log.check_succession(succession(), LOG[0]).new == BO.agent
    assert log.check_succession(succession(last=0), LOG[0]).last_seq == 0
    lying = evidence_kinds.Succession(ADA.agent, 3, b"", BO.agent)
    for record, genesis, error in [
        (succession(keys=ADA), LOG[0], BadSignature),
        (succession(keys=BO), LOG[0], BadSignature),
        (succession(old=BO.agent), LOG[0], MalformedRecord),
        (succession(new=ADA.agent), LOG[0], MalformedRecord),
        (succession(), LOG[1], MalformedRecord),
        (succession(), chain(BO, 1)[0], MalformedRecord),
        (LOG[0], LOG[0], MalformedRecord),
        (records.seal(RECOVERY, lying, time_ms=9), LOG[0], MalformedRecord),
    ]:
        with pytest.raises(error):
            log.check_succession(record, genesis)


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=3))
def test_garbage_raises_only_errors_that_blame_the_sender(raws: list[bytes]) -> None:
    with pytest.raises(RemoteError):
        log.check_segment(raws)
    with pytest.raises(RemoteError):
        log.check_proof(evidence_kinds.Proof("equivocation", tuple(raws)))
