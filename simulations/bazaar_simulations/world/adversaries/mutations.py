"""Fourteen ways to make a record that nobody signed out of one that somebody did."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from bazaar_protocol import codec
from bazaar_protocol.identity import Keypair

Payload: TypeAlias = list[Any]
"""Version, kind, author, seq, prev, time_ms, body."""

_KIND, _AUTHOR, _SEQ, _PREV, _TIME, _BODY = 1, 2, 3, 4, 5, 6
_HASH_BYTES: Final = 32
_GROWTH_MAX: Final = 64
_TIME_STEP_MS: Final = 60_000
_WRONG_DOMAIN: Final = b"bazaar/letter/1\x00"
_DOMAIN: Final = b"bazaar/record/1\x00"
_BIN_8: Final = 0xC4
_BIN_16: Final = 0xC5
_POOL_MAX: Final = 256


class Mutator:
    """Makes forgeries.

    Args:
        rng: Decides.
        keys: What the forger can sign with: never the author's.

    """

    def __init__(self, rng: random.Random, keys: Keypair) -> None:
        self._rng = rng
        self._keys = keys
        self._pool: list[bytes] = []

    def mutate(self, raw: bytes, way: str | None = None) -> bytes:
        """Return a forgery of the record ``raw`` in one of the ways of ``WAYS``."""
        name = way or self._rng.choice(tuple(WAYS))
        forged = WAYS[name](self, raw)
        self._pool.append(raw)
        if len(self._pool) > _POOL_MAX:
            self._pool.pop(0)
        return forged if forged != raw else raw + b"\x00"

    def payload_bit(self, raw: bytes) -> bytes:
        """Flip a bit of what was signed."""
        payload, signature = _open(raw)
        return codec.encode([self._flipped(payload), signature])

    def signature_bit(self, raw: bytes) -> bytes:
        """Flip a bit of the signature."""
        payload, signature = _open(raw)
        return codec.encode([payload, self._flipped(signature)])

    def cut(self, raw: bytes) -> bytes:
        """Leave out the end."""
        return raw[: self._rng.randrange(len(raw))]

    def grown(self, raw: bytes) -> bytes:
        """Add something to the end."""
        return raw + self._rng.randbytes(self._rng.randint(1, _GROWTH_MAX))

    def author(self, raw: bytes) -> bytes:
        """Say that another has signed it."""
        return self._changed(raw, _AUTHOR, Keypair(self._rng.randbytes(_HASH_BYTES)).agent)

    def place(self, raw: bytes) -> bytes:
        """Give it another place in its author's log."""
        return self._changed(raw, _SEQ, self._rng.choice((0, 1, 2, 3, 1000)))

    def predecessor(self, raw: bytes) -> bytes:
        """Hang it behind another entry."""
        return self._changed(raw, _PREV, self._rng.randbytes(_HASH_BYTES))

    def time(self, raw: bytes) -> bytes:
        """Date it back or forward."""
        payload = _read(raw)
        return self._changed(raw, _TIME, max(payload[_TIME] + self._step(), 0))

    def kind(self, raw: bytes) -> bytes:
        """Say that it is of another kind, with the same body."""
        kinds = ("accept", "award", "bid", "deliver", "post", "reset", "verdict", "x")
        return self._changed(raw, _KIND, self._rng.choice(kinds))

    def body(self, raw: bytes) -> bytes:
        """Change one thing that it says."""
        body = list(_read(raw)[_BODY])
        place = self._rng.randrange(len(body))
        body[place] = self._other(body[place])
        return self._changed(raw, _BODY, body)

    def anothers_signature(self, raw: bytes) -> bytes:
        """Put the signature of another record under it."""
        payload, signature = _open(raw)
        others = [one for one in self._pool if one != raw]
        found = _open(self._rng.choice(others))[1] if others else signature[::-1]
        return codec.encode([payload, found])

    def signed_by_forger(self, raw: bytes) -> bytes:
        """Sign it with the forger's key, in the author's name."""
        payload, _ = _open(raw)
        return codec.encode([payload, self._keys.sign(_DOMAIN, payload)])

    def longer_header(self, raw: bytes) -> bytes:
        """Encode the same values in another way, so that the record has a second name."""
        if raw[1] == _BIN_8:
            return raw[:1] + bytes([_BIN_16, 0]) + raw[2:]
        return bytes([0xDC, 0, 2]) + raw[1:]

    def wrong_domain(self, raw: bytes) -> bytes:
        """Say it as the forger, with a signature that was made for something else."""
        payload = _read(raw)
        payload[_AUTHOR] = self._keys.agent
        signed = codec.encode(payload)
        return codec.encode([signed, self._keys.sign(_WRONG_DOMAIN, signed)])

    def _changed(self, raw: bytes, place: int, value: object) -> bytes:
        payload = _read(raw)
        payload[place] = value
        return codec.encode([codec.encode(payload), _open(raw)[1]])

    def _flipped(self, raw: bytes) -> bytes:
        place = self._rng.randrange(len(raw))
        return raw[:place] + bytes([raw[place] ^ 1 << self._rng.randrange(8)]) + raw[place + 1 :]

    def _step(self) -> int:
        return self._rng.choice((-_TIME_STEP_MS, -1, 1, _TIME_STEP_MS))

    def _other(self, value: object) -> object:
        match value:
            case bool():
                return not value
            case int():
                return value + 1
            case bytes() if value:
                return self._flipped(value)
            case str():
                return f"{value}x"
            case _:
                return b"\x01"


Way: TypeAlias = Callable[[Mutator, bytes], bytes]
WAYS: Final[Mapping[str, Way]] = {
    "payload bit": Mutator.payload_bit,
    "signature bit": Mutator.signature_bit,
    "cut": Mutator.cut,
    "grown": Mutator.grown,
    "author": Mutator.author,
    "place": Mutator.place,
    "predecessor": Mutator.predecessor,
    "time": Mutator.time,
    "kind": Mutator.kind,
    "body": Mutator.body,
    "another's signature": Mutator.anothers_signature,
    "signed by forger": Mutator.signed_by_forger,
    "longer header": Mutator.longer_header,
    "wrong domain": Mutator.wrong_domain,
}


def _open(raw: bytes) -> tuple[bytes, bytes]:
    payload, signature = msgspec.msgpack.decode(raw)
    return payload, signature


def _read(raw: bytes) -> Payload:
    payload: Payload = msgspec.msgpack.decode(_open(raw)[0])
    return payload
