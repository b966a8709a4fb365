"""Writes the test vectors beside it: ``python -m tests.vectors.make``. Same bytes on each run.

They are for other languages: docs/protocol.md says how to use them.
"""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
from tests.vectors import evidence, examples, near_misses
from tests.vectors.examples import ADA, BO, CY, KEYS

from bazaar_protocol import award, frames, keyfile, kinds, letters, log, sealing
from bazaar_protocol.award import Offer
from bazaar_protocol.identity import AgentId, Keypair, to_did, to_peer_id
from bazaar_protocol.records import Record, RecordId

FOLDER = Path(__file__).parent
PUBLISHED = AgentId(
    bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
)


def plain(value: object) -> Any:
    """Write a body for JSON: fields by name, bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        return {name: plain(getattr(value, name)) for name in names}
    return value


def identities() -> Any:
    known = [(name, keys.agent, keys.seed.hex()) for name, keys in KEYS.items()]
    return [
        {
            "name": name,
            "seed": seed,
            "key": agent.hex(),
            "did": to_did(agent),
            "peer_id": to_peer_id(agent),
        }
        for name, agent, seed in [*known, ("published, no seed", PUBLISHED, "")]
    ]


def good(record: Record) -> Any:
    payload, signature = near_misses.parts(record)
    return {
        "name": record.kind,
        "seed": keys_of(record).seed.hex(),
        "payload": payload.hex(),
        "signature": signature.hex(),
        "record": record.raw.hex(),
        "id": record.id.hex(),
        "kind": record.kind,
        "author": record.author.hex(),
        "seq": record.seq,
        "prev": record.prev.hex(),
        "time_ms": record.time_ms,
        "body": plain(record.body),
    }


def keys_of(record: Record) -> Keypair:
    return next(keys for keys in KEYS.values() if keys.agent == record.author)


def bad_records(said: dict[str, Record]) -> list[tuple[str, str, bytes]]:
    bad = []
    for kind, record in said.items():
        misses = near_misses.each_kind(record, keys_of(record))
        bad += [(f"{kind}: {name}", code, raw) for name, code, raw in misses]
    bad += near_misses.fields_of_evidence(said, keys_of)
    unknown = near_misses.unknown_kind(ADA)
    bad += [(f"unknown: {name}", code, raw) for name, code, raw in unknown]
    return bad + near_misses.without_secret()


def all_records() -> Any:
    said = examples.trade()
    return {
        "good": [good(said[kind]) for kind in kinds.KINDS],
        "refused": [
            {"name": name, "why": why, "record": raw.hex()} for name, why, raw in bad_records(said)
        ],
    }


def logs() -> Any:
    chain = [record.raw for record in examples.chain(5)]
    payload, signature = near_misses.parts(examples.chain(5)[2])
    junk = msgspec.msgpack.encode([payload, bytes(64)])
    last, _ = near_misses.parts(examples.chain(5)[4])
    first, second = examples.fork()
    swapped = [chain[0], chain[2], chain[1], *chain[3:]]
    refused = [
        ("one dropped", "gap", [*chain[:2], *chain[3:]]),
        ("two swapped", "gap", swapped),
        ("one twice", "gap", [*chain[:2], *chain[1:]]),
        ("a junk signature in the middle", "gap", [*chain[:2], junk, *chain[3:]]),
        ("a junk signature at the end", "signature",
         [*chain[:4], msgspec.msgpack.encode([last, signature])]),
        ("an entry of the other branch", "gap", [chain[0], second, *chain[2:]]),
    ]  # fmt: skip
    return {
        "good": [
            {"name": "from the genesis", "records": [raw.hex() for raw in chain]},
            {"name": "from the middle", "records": [raw.hex() for raw in chain[2:4]]},
        ],
        "refused": [
            {"name": name, "why": why, "records": [raw.hex() for raw in raws]}
            for name, why, raws in refused
        ],
        "fork": {"records": [first.hex(), second.hex()], "convicts": ADA.agent.hex()},
        "recovery": {
            "key": examples.RECOVERY.agent.hex(),
            "hash": log.recovery_hash(examples.RECOVERY.agent).hex(),
        },
    }


def sealed_letters() -> Any:
    task = bytes.fromhex("11" * 32)
    contents: list[letters.Letter] = [
        letters.TaskInput(task, examples.INPUT),
        letters.TaskResult(task, 1, examples.RESULT),
        letters.Renewed(task, 1, bytes.fromhex("22" * 32)),
        letters.SealedTerms(task, examples.SALT, examples.TERMS),
        letters.Invitation(task),
    ]
    made = []
    for letter in contents:
        content = letters.encode_letter(letter)
        sealed = sealing.seal_to(ADA.agent, BO, content, entropy=examples.ENTROPY)
        made.append(
            {
                "name": type(letter).__name__,
                "recipient_seed": ADA.seed.hex(),
                "sender_seed": BO.seed.hex(),
                "entropy": examples.ENTROPY.hex(),
                "content": content.hex(),
                "sealed": sealed.hex(),
                "letter": plain(letter),
            }
        )
    sealed = bytes.fromhex(made[0]["sealed"])
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    top_bit = sealed[:31] + bytes([sealed[31] ^ 0x80]) + sealed[32:]
    refused = [
        ("a flipped bit", ADA.seed, flipped),
        (
            "the top bit of the ephemeral key",
            ADA.seed,
            top_bit,
        ),
        ("an ephemeral key of small order", ADA.seed, bytes(32) + sealed[32:]),
        ("another recipient", CY.seed, sealed),
        ("cut off", ADA.seed, sealed[:-1]),
    ]
    return {
        "good": made,
        "refused": [
            {"name": name, "why": "malformed", "recipient_seed": seed.hex(), "sealed": raw.hex()}
            for name, seed, raw in refused
        ],
    }


def key_files() -> Any:
    salt, nonce = b"\x01" * keyfile.SALT_BYTES, b"\x02" * keyfile.NONCE_BYTES
    made = [
        {
            "name": name,
            "seed": ADA.seed.hex(),
            "passphrase": passphrase,
            "file": base64.b64encode(
                keyfile.lock(
                    ADA.seed,
                    passphrase.encode() if passphrase else None,
                    salt=salt,
                    nonce=nonce,
                )
            ).decode(),
        }
        for name, passphrase in (("plain", None), ("locked", "correct horse"))
    ]
    return {"good": made, "refused": [{**made[1], "name": "wrong", "passphrase": "wrong horse"}]}


def every_frame() -> Any:
    raw = examples.trade()["decline"].raw
    return [
        {
            "name": type(frame).__name__,
            "frame": frames.encode_frame(frame).hex(),
            "items": plain(frame),
        }
        for frame in examples.all_frames(raw)
    ]


Numbers = tuple[int, int, int, int]
"""Price, eta, confidence and standing of a bid."""

AWARDS: list[tuple[str, kinds.Rule, int, list[Numbers]]] = [
    ("the cheapest", kinds.Rule(10_000, 0, 0, 0), 100, [(50, 9, 0, 0), (40, 99, 0, 0)]),
    ("the fastest", kinds.Rule(0, 10_000, 0, 0), 100, [(50, 9, 0, 0), (40, 99, 0, 0)]),
    ("a mix", examples.RULE, 100, [(40, 900, 9_300, 5_000), (35, 800, 9_100, 4_000)]),
    ("ceiling", examples.RULE, 39, [(40, 900, 9_300, 5_000), (35, 800, 9_100, 4_000)]),
    ("nobody", examples.RULE, 10, [(40, 900, 9_300, 5_000)]),
    ("tie: price", kinds.Rule(0, 0, 0, 10_000), 100, [(41, 1, 0, 5), (40, 1, 0, 5)]),
    ("tie: id", kinds.Rule(0, 0, 0, 10_000), 100, [(40, 1, 0, 5), (40, 1, 0, 5)]),
    ("rounded down", kinds.Rule(1, 9_999, 0, 0), 7, [(3, 7, 0, 0), (5, 3, 0, 0)]),
    ("zeroes", examples.RULE, 0, [(0, 0, 0, 0)]),
    ("value: trust", award.EXPECTED_VALUE, 100, [(60, 9, 0, 9_000), (20, 9, 9_999, 5_000)]),
    ("value: price", award.EXPECTED_VALUE, 100, [(60, 1, 9_999, 9_000), (20, 9, 0, 8_000)]),
    ("value: equal trust", award.EXPECTED_VALUE, 100, [(41, 1, 9, 5_000), (40, 9, 5, 5_000)]),
    ("value: no trust", award.EXPECTED_VALUE, 100, [(41, 1, 9_999, 0), (40, 9, 0, 0)]),
    ("value: rounded down", award.EXPECTED_VALUE, 3, [(2, 1, 0, 4_999), (1, 1, 0, 3_999)]),
    ("value: tie", award.EXPECTED_VALUE, 2, [(1, 1, 0, 5_000), (1, 1, 0, 5_000)]),
    ("value: ceiling", award.EXPECTED_VALUE, 39, [(40, 1, 0, 10_000), (39, 1, 0, 0)]),
]


def offer(number: int, numbers: Numbers) -> Offer:
    price, eta_ms, confidence, standing = numbers
    terms = kinds.BidTerms(price, eta_ms, confidence, 60_000)
    return Offer(RecordId(bytes([number]) * 32), BO.agent, terms, standing)


def choice(name: str, rule: kinds.Rule, ceiling: int, bids: list[Numbers]) -> Any:
    offers = [offer(number, numbers) for number, numbers in enumerate(bids, start=1)]
    best = award.choose(rule, ceiling, offers)
    return {
        "name": name,
        "rule": plain(rule),
        "ceiling": ceiling,
        "bids": [
            {"bid": one.bid.hex(), "standing": one.standing, **plain(one.terms)} for one in offers
        ],
        "winner": best.bid.hex() if best else None,
    }


def awards() -> Any:
    task, bid = bytes.fromhex("11" * 32), bytes.fromhex("22" * 32)
    return {
        "choose": [choice(*case) for case in AWARDS],
        "terms_hash": {
            "task": task.hex(),
            "bid": bid.hex(),
            "price": 40,
            "lease": plain(examples.LEASE),
            "hash": award.terms_hash(task, bid, 40, examples.LEASE).hex(),
        },
        "commitment": {
            "salt": examples.SALT.hex(),
            "terms": plain(examples.TERMS),
            "commitment": award.commitment(examples.SALT, examples.TERMS).hex(),
        },
    }


def vectors() -> dict[str, str]:
    """Return each file's text by its name."""
    files = {
        "identities.json": identities(),
        "records.json": all_records(),
        "logs.json": logs(),
        "merkle.json": evidence.merkle_trees(),
        "evidence.json": evidence.checks(),
        "letters.json": sealed_letters(),
        "key_files.json": key_files(),
        "frames.json": every_frame(),
        "awards.json": awards(),
    }
    return {
        name: json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        for name, content in files.items()
    }


if __name__ == "__main__":
    for name, text in vectors().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
