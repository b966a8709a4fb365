"""The published vectors are current, and we are one of the programs that pass them."""

import base64
import json
from typing import Any, get_args

import msgspec
import pytest
from tests.vectors.make import FOLDER, plain, vectors

from bazaar_protocol import (
    award,
    evidence,
    evidence_kinds,
    frames,
    keyfile,
    kinds,
    letters,
    log,
    merkle,
    records,
    sealing,
)
from bazaar_protocol.award import Offer
from bazaar_protocol.errors import KeyFileError, RemoteError
from bazaar_protocol.identity import AgentId, Keypair, parse_agent, to_did, to_peer_id
from bazaar_protocol.records import RecordId

READERS = (frames.decode_to_relay, frames.decode_from_relay, frames.decode_between_nodes)


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def named(examples: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", examples, ids=lambda one: one["name"])


def test_the_files_are_what_the_script_writes() -> None:
    """If this fails, the protocol has changed, or the vectors have to be made again."""
    for name, text in vectors().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text
    assert {path.name for path in FOLDER.glob("*.json")} == set(vectors())


@named(load("identities.json"))
def test_identities(vector: Any) -> None:
    agent = AgentId(hexed(vector["key"]))
    assert (to_did(agent), to_peer_id(agent)) == (vector["did"], vector["peer_id"])
    assert parse_agent(vector["did"]) == parse_agent(vector["peer_id"]) == agent
    if vector["seed"]:
        assert Keypair(hexed(vector["seed"])).agent == agent


def test_there_is_a_good_record_of_every_kind_and_near_misses_of_each() -> None:
    vector = load("records.json")
    assert [one["kind"] for one in vector["good"]] == list(kinds.KINDS)
    missed = {one["name"].partition(":")[0] for one in vector["refused"]}
    assert missed >= {*kinds.KINDS, "unknown"}
    assert len({one["record"] for one in vector["refused"]}) == len(vector["refused"])


@named(load("records.json")["good"])
def test_good_records(vector: Any) -> None:
    record = records.unseal(hexed(vector["record"]))
    assert plain(record.body) == vector["body"]
    assert (record.kind, record.seq, record.time_ms) == (
        vector["kind"],
        vector["seq"],
        vector["time_ms"],
    )
    for name in ("id", "author", "prev"):
        assert getattr(record, name).hex() == vector[name]
    keys = Keypair(hexed(vector["seed"]))
    signature = keys.sign(b"bazaar/record/1\x00", hexed(vector["payload"]))
    assert signature.hex() == vector["signature"]
    assert not isinstance(record.body, records.Unknown)
    again = records.seal(
        keys, record.body, time_ms=record.time_ms, seq=record.seq, prev=record.prev
    )
    assert again == record


@named(load("records.json")["refused"])
def test_refused_records(vector: Any) -> None:
    with pytest.raises(RemoteError) as caught:
        records.unseal(hexed(vector["record"]))
    assert caught.value.code == vector["why"]


@named(load("logs.json")["good"])
def test_good_segments(vector: Any) -> None:
    raws = [hexed(raw) for raw in vector["records"]]
    assert [record.raw for record in log.check_segment(raws)] == raws


@named(load("logs.json")["refused"])
def test_refused_segments(vector: Any) -> None:
    with pytest.raises(RemoteError) as caught:
        log.check_segment([hexed(raw) for raw in vector["records"]])
    assert caught.value.code == vector["why"]


def test_the_fork_and_the_recovery_key() -> None:
    vector = load("logs.json")
    proof = evidence_kinds.Proof("equivocation", tuple(map(hexed, vector["fork"]["records"])))
    assert log.check_proof(proof).hex() == vector["fork"]["convicts"]
    recovery = vector["recovery"]
    assert log.recovery_hash(hexed(recovery["key"])).hex() == recovery["hash"]


@named(load("merkle.json")["good"])
def test_merkle_trees(vector: Any) -> None:
    leaves, root = list(map(hexed, vector["leaves"])), hexed(vector["root"])
    paths = [tuple(map(hexed, path)) for path in vector["paths"]]
    assert merkle.tree_hash(leaves) == root
    assert [merkle.inclusion_path(leaves, index) for index in range(len(leaves))] == paths
    for index, (leaf, path) in enumerate(zip(leaves, paths, strict=True)):
        merkle.check_inclusion(leaf, path, root, index=index, count=len(leaves))


def test_there_are_trees_of_every_small_size() -> None:
    assert [len(one["leaves"]) for one in load("merkle.json")["good"]] == list(range(10))


@named(load("merkle.json")["refused"])
def test_refused_paths(vector: Any) -> None:
    leaf, root = hexed(vector["leaf"]), hexed(vector["root"])
    path = tuple(map(hexed, vector["path"]))
    with pytest.raises(RemoteError) as caught:
        merkle.check_inclusion(leaf, path, root, index=vector["index"], count=vector["count"])
    assert caught.value.code == "malformed"


def convicted(record: records.Record) -> AgentId:
    if isinstance(record.body, evidence_kinds.Proof):
        return log.check_proof(record.body)
    assert isinstance(record.body, evidence_kinds.Omission)
    return evidence.check_omission(record.body)


@named(load("evidence.json")["proofs"]["good"] + load("evidence.json")["omissions"]["good"])
def test_evidence_that_convicts(vector: Any) -> None:
    assert convicted(records.unseal(hexed(vector["record"]))).hex() == vector["convicts"]


@named(load("evidence.json")["proofs"]["refused"] + load("evidence.json")["omissions"]["refused"])
def test_evidence_that_convicts_nobody(vector: Any) -> None:
    record = records.unseal(hexed(vector["record"]))
    with pytest.raises(RemoteError) as caught:
        convicted(record)
    assert caught.value.code == vector["why"]


def open_canary(vector: Any) -> None:
    reveal = records.unseal(hexed(vector["reveal"])).body
    assert isinstance(reveal, evidence_kinds.Reveal)
    evidence.check_reveal(records.unseal(hexed(vector["post"])), reveal)


@named(load("evidence.json")["canaries"]["good"])
def test_canaries_that_open(vector: Any) -> None:
    open_canary(vector)


@named(load("evidence.json")["canaries"]["refused"])
def test_canaries_that_do_not_open(vector: Any) -> None:
    with pytest.raises(RemoteError) as caught:
        open_canary(vector)
    assert caught.value.code == "malformed"


def test_what_a_post_commits_to() -> None:
    vector = load("evidence.json")["canaries"]
    committed = evidence.canary(hexed(vector["salt"]), hexed(vector["digest"]))
    assert committed.hex() == vector["canary"]


@named(load("evidence.json")["stamps"])
def test_stamps(vector: Any) -> None:
    record = records.unseal(hexed(vector["record"]))
    assert isinstance(record.body, evidence_kinds.Stamp)
    assert evidence.stamp_bits(record.author, record.body) == vector["bits"]


@named(load("letters.json")["good"])
def test_good_letters(vector: Any) -> None:
    recipient, sender = (Keypair(hexed(vector[f"{who}_seed"])) for who in ("recipient", "sender"))
    sealed, content = hexed(vector["sealed"]), hexed(vector["content"])
    assert sealing.open_sealed(recipient, sealed) == (sender.agent, content)
    assert plain(letters.decode_letter(content)) == vector["letter"]
    entropy = hexed(vector["entropy"])
    assert sealing.seal_to(recipient.agent, sender, content, entropy=entropy) == sealed


@named(load("letters.json")["refused"])
def test_refused_letters(vector: Any) -> None:
    with pytest.raises(RemoteError) as caught:
        sealing.open_sealed(Keypair(hexed(vector["recipient_seed"])), hexed(vector["sealed"]))
    assert caught.value.code == vector["why"]


def unlock(vector: Any) -> bytes:
    passphrase = vector["passphrase"]
    blob = base64.b64decode(vector["file"])
    return keyfile.unlock(blob, passphrase.encode() if passphrase else None)


@named(load("key_files.json")["good"])
def test_good_key_files(vector: Any) -> None:
    assert unlock(vector).hex() == vector["seed"]


@named(load("key_files.json")["refused"])
def test_refused_key_files(vector: Any) -> None:
    with pytest.raises(KeyFileError):
        unlock(vector)


def test_there_is_a_frame_of_every_name() -> None:
    assert {one["name"] for one in load("frames.json")} == {
        frame.__name__ for frame in get_args(frames.Frame)
    }


@named(load("frames.json"))
def test_frames(vector: Any) -> None:
    read = []
    for reader in READERS:
        try:
            read.append(reader(hexed(vector["frame"])))
        except RemoteError:
            continue
    assert read
    for frame in read:
        assert type(frame).__name__ == vector["name"]
        assert plain(frame) == vector["items"]


@named(load("awards.json")["choose"])
def test_awards(vector: Any) -> None:
    offers = [
        Offer(
            RecordId(hexed(one["bid"])),
            AgentId(bytes(32)),
            kinds.BidTerms(one["price"], one["eta_ms"], one["confidence"], one["valid_for_ms"]),
            one["standing"],
        )
        for one in vector["bids"]
    ]
    best = award.choose(kinds.Rule(**vector["rule"]), vector["ceiling"], offers)
    assert (best.bid.hex() if best else None) == vector["winner"]


def test_what_both_sides_agree_on() -> None:
    vector = load("awards.json")
    agreed, hidden = vector["terms_hash"], vector["commitment"]
    lease = kinds.Lease(**agreed["lease"])
    given = (hexed(agreed["task"]), hexed(agreed["bid"]), agreed["price"], lease)
    assert award.terms_hash(*given).hex() == agreed["hash"]
    terms = kinds.BidTerms(**hidden["terms"])
    assert award.commitment(hexed(hidden["salt"]), terms).hex() == hidden["commitment"]


def test_another_reader_of_msgpack_sees_the_same() -> None:
    """The head of a record as any msgpack library reads it, without a line of ours."""
    for vector in load("records.json")["good"]:
        payload, signature = msgspec.msgpack.decode(hexed(vector["record"]))
        assert (payload.hex(), signature.hex()) == (vector["payload"], vector["signature"])
        items = msgspec.msgpack.decode(payload)
        assert items[:2] == [1, vector["kind"]]
        assert [items[3], items[5]] == [vector["seq"], vector["time_ms"]]
