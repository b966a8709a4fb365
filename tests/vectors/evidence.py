"""What receipts and evidence prove, and what falls short of it by one step."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec
from tests.vectors.examples import (
    ADA,
    BO,
    CY,
    DAY,
    DIGEST,
    RELAY,
    SALT,
    Author,
    author,
    chain,
    fork,
    link,
    post,
    trade,
)

from bazaar_protocol import codec, evidence, kinds, log, merkle, records
from bazaar_protocol.evidence_kinds import (
    Intake,
    Omission,
    Proof,
    Reset,
    Reveal,
    Stamp,
    Statement,
)
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record

LEAVES = [sha256(b"leaf %d" % number).digest() for number in range(9)]
Case = tuple[str, str, Record]
"""Name, code of the refusal, record."""


def merkle_trees() -> Any:
    """Return trees of each small size, and paths that prove nothing."""
    return {
        "good": [tree(count) for count in range(len(LEAVES) + 1)],
        "refused": [
            {
                "name": name,
                "leaf": leaf.hex(),
                "index": index,
                "count": count,
                "path": [one.hex() for one in path],
                "root": root.hex(),
            }
            for name, leaf, index, count, path, root in bad_paths()
        ],
    }


def tree(count: int) -> Any:
    leaves = LEAVES[:count]
    paths = [merkle.inclusion_path(leaves, index) for index in range(count)]
    return {
        "name": f"{count} leaves",
        "leaves": [leaf.hex() for leaf in leaves],
        "root": merkle.tree_hash(leaves).hex(),
        "paths": [[one.hex() for one in path] for path in paths],
    }


def bad_paths() -> Iterator[tuple[str, bytes, int, int, tuple[bytes, ...], bytes]]:
    leaves = LEAVES[:7]
    root, leaf = merkle.tree_hash(leaves), leaves[4]
    path = merkle.inclusion_path(leaves, 4)
    inner = sha256(b"\x00" + leaf).digest()
    pair = sha256(b"\x01" + inner + path[0]).digest()
    yield "another leaf", leaves[5], 4, 7, path, root
    yield "another index", leaf, 5, 7, path, root
    yield "an index past the end", leaf, 7, 7, path, root
    yield "another count", leaf, 4, 9, path, root
    yield "no leaves at all", leaf, 0, 0, (), merkle.tree_hash(())
    yield "a hash missing", leaf, 4, 7, path[:-1], root
    yield "a hash left over", leaf, 4, 7, (*path, path[0]), root
    yield "two hashes swapped", leaf, 4, 7, (path[1], path[0], *path[2:]), root
    yield "a flipped bit", leaf, 4, 7, (near(path[0]), *path[1:]), root
    yield "another root", leaf, 4, 7, path, near(root)
    yield "an inner node as a leaf", inner + path[0], 2, 4, path[1:], root
    yield "the hash of two leaves as a leaf", pair, 2, 4, path[1:], root
    yield "the root as its only leaf", root, 0, 1, (), root


def near(digest: bytes) -> bytes:
    return bytes([digest[0] ^ 1]) + digest[1:]


def checks() -> Any:
    """Return records that prove something, and their near misses."""
    said = trade()
    return {
        "proofs": {
            "good": [convicting("two verdicts", said["proof"], ADA)],
            "refused": [refused(case) for case in bad_proofs()],
        },
        "omissions": {
            "good": [convicting("a verdict left out", said["omission"], RELAY)],
            "refused": [refused(case) for case in bad_omissions(said)],
        },
        "canaries": canaries(said),
        "stamps": stamps(said["stamp"]),
    }


def convicting(name: str, record: Record, keys: Keypair) -> Any:
    return {"name": name, "record": record.raw.hex(), "convicts": keys.agent.hex()}


def refused(case: Case) -> Any:
    name, why, record = case
    return {"name": name, "why": why, "record": record.raw.hex()}


def junk_signature(raw: bytes) -> bytes:
    payload, _ = msgspec.msgpack.decode(raw)
    return codec.encode([payload, b"\x07" * 64])


def bad_proofs() -> Iterator[Case]:
    first, second = fork()
    genesis, known, third = chain(3)
    void = Author(ADA, Head.of(genesis)).say(Reset("an old backup"))
    behind = Author(ADA, Head.of(void)).say(
        kinds.Verdict(
            bytes(32), Link(BO.agent, 5, bytes(32)), 1, accepted=True, reason="", criteria=()
        )
    )
    for name, why, raws in [
        ("one record", "malformed", (first,)),
        ("one record twice", "malformed", (first, first)),
        ("places that differ", "malformed", (first, third.raw)),
        ("an entry and a reset", "malformed", (known.raw, void.raw)),
        ("a reset and an entry", "malformed", (void.raw, known.raw)),
        ("an entry and one behind a reset", "malformed", (third.raw, behind.raw)),
        ("a junk signature", "signature", (first, junk_signature(second))),
        ("no record", "malformed", (first, b"\x90")),
    ]:
        yield name, why, author(CY).say(Proof("equivocation", raws))
    yield "an omission", "malformed", author(CY).say(Proof("omission", (first, second)))


def bad_statements(said: dict[str, Record]) -> Iterator[tuple[str, bytes]]:
    """Return statements that do not contradict the receipt for the verdict."""
    award, entry, later, own = said["award"], said["verdict"], said["reveal"], said["intake"].seq
    right = Statement(ADA.agent, award.seq, award.id, own)
    wrong: list[tuple[str, Keypair, dict[str, Any]]] = [
        ("of another relay", BO, {}),
        ("before the receipt", RELAY, {"own_seq": own - 1}),
        ("of another log", RELAY, {"author": BO.agent}),
        ("of that entry", RELAY, {"seq": entry.seq, "id": entry.id}),
        ("of a later entry", RELAY, {"seq": later.seq, "id": later.id}),
        ("of a place without an id", RELAY, {"id": b""}),
        ("of an id without a place", RELAY, {"seq": 0}),
    ]
    for name, keys, changes in wrong:
        body = msgspec.structs.replace(right, **changes)
        yield f"a statement {name}", records.seal(keys, body, time_ms=5).raw
    yield "the receipt as statement", said["intake"].raw


def bad_omissions(said: dict[str, Record]) -> Iterator[Case]:
    omission, intake = said["omission"].body, said["intake"]
    assert isinstance(omission, Omission)
    assert isinstance(intake.body, Intake)

    def claim(name: str, *, why: str = "malformed", **changes: Any) -> Case:
        return name, why, author(CY).say(msgspec.structs.replace(omission, **changes))

    for name, statement in bad_statements(said):
        yield claim(name, statement=statement)
    for field in ("statement", "intake", "entry"):
        forged = junk_signature(getattr(omission, field))
        yield claim(f"a junk signature on the {field}", why="signature", **{field: forged})
    other = Author(BO, Head.of(said["reset"])).say(intake.body)
    yield claim("a receipt of another relay", intake=other.raw)
    yield claim("the statement as receipt", intake=omission.statement)
    yield claim("an entry that is not under the receipt", entry=chain(3)[2].raw)
    yield claim("a loose record", entry=said["post"].raw, **under_receipt(said, said["post"]))
    path = omission.path
    yield claim("another index", index=omission.index + 1)
    yield claim("a hash missing", path=path[:-1])
    yield claim("a flipped bit in the path", path=(near(path[0]), *path[1:]))


def under_receipt(said: dict[str, Record], record: Record) -> dict[str, Any]:
    """Return the way from ``record`` to the root of the receipt for all before it."""
    intake = said["intake"].body
    assert isinstance(intake, Intake)
    leaves = [one.id for one in said.values()][: intake.count]
    index = leaves.index(record.id)
    return {"index": index, "path": merkle.inclusion_path(leaves, index)}


def canaries(said: dict[str, Record]) -> Any:
    asked, reveal = said["post"], said["reveal"]
    deliver = link(said["deliver"])
    task = asked.id
    bare = author(ADA).say(msgspec.structs.replace(post(), canary=b""))
    ada = author(ADA)
    ada.say(kinds.Genesis(log.recovery_hash(ADA.agent)))
    bad = [
        ("another salt", asked, Reveal(task, deliver, near(SALT), DIGEST)),
        ("another digest", asked, Reveal(task, deliver, SALT, near(DIGEST))),
        ("salt and digest swapped", asked, Reveal(task, deliver, DIGEST, SALT)),
        ("another task", asked, Reveal(near(task), deliver, SALT, DIGEST)),
        ("a post without a canary", bare, Reveal(bare.id, deliver, SALT, DIGEST)),
        ("no post", said["award"], Reveal(said["award"].id, deliver, SALT, DIGEST)),
    ]
    return {
        "salt": SALT.hex(),
        "digest": DIGEST.hex(),
        "canary": evidence.canary(SALT, DIGEST).hex(),
        "good": [{"name": "opened", "post": asked.raw.hex(), "reveal": reveal.raw.hex()}],
        "refused": [
            {"name": name, "post": one.raw.hex(), "reveal": ada.say(body).raw.hex()}
            for name, one, body in bad
        ],
    }


def stamps(found: Record) -> Any:
    anywhere = evidence.find_stamp(BO.agent, day=DAY, bits=9, numbers=range(2**16))
    assert anywhere is not None
    bodies = [anywhere, Stamp(b"", DAY, bytes(32)), Stamp(RELAY.agent, DAY, anywhere.nonce)]
    made = [found, *(author(BO).say(body) for body in bodies)]
    names = ["for a relay", "for whoever looks", "of no number", "for another relay"]
    return [
        {"name": name, "record": record.raw.hex(), "bits": bits_of(record)}
        for name, record in zip(names, made, strict=True)
    ]


def bits_of(record: Record) -> int:
    assert isinstance(record.body, Stamp)
    return evidence.stamp_bits(record.author, record.body)
