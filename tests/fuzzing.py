"""What strangers may send, out of one seeded source: every run can be had again by its seed."""

import random
from collections.abc import Sequence
from typing import Any, Final, TypeVar, get_args

import msgspec
from msgspec import inspect
from tests.market_records import Trader
from tests.strategies import make_post, sealed_payload

from bazaar_protocol import codec, frames, kinds, letters, limits
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import KINDS
from bazaar_protocol.letters import Letter
from bazaar_protocol.records import Record
from bazaar_protocol.sealing import seal_to

T = TypeVar("T")

ITEMS_MAX = 3
RECORDS_PER_LOG = 40
POOL_MAX = 256

# Bytes that begin another type, or announce more than there is: msgpack's own traps.
MARKERS: Final = (
    b"\x00", b"\x7f", b"\x80", b"\x8f", b"\x90", b"\x9f", b"\xa0", b"\xbf", b"\xc0", b"\xc1",
    b"\xc2", b"\xc3", b"\xc4\xff", b"\xc6\xff\xff\xff\xff", b"\xc7\x01\x05",
    b"\xc9\xff\xff\xff\xff", b"\xca\x7f\xc0\x00\x00", b"\xcb\x7f\xf8" + bytes(6),
    b"\xcf" + b"\xff" * 8, b"\xd3" + b"\xff" * 8, b"\xd9\xff", b"\xdb\xff\xff\xff\xff",
    b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xde\xff\xff", b"\xdf\xff\xff\xff\xff",
    b"\xe0", b"\xff", b"\xd6\xff\x00\x00\x00\x00",
)  # fmt: skip
NESTINGS: Final = (b"\x91", b"\x81", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01")
TO_RELAY: Final = get_args(frames.ToRelay)
ANY_FRAME: Final = sorted({*get_args(frames.Frame)}, key=lambda frame: frame.__name__)
NAMES: Final = ("pdf.extract", "pdf", "table.extract", "x")


class Fuzz:
    """A stranger's imagination.

    Args:
        seed: Decides everything.
        now_ms: When the records say they were signed, more or less.
        victims: Agents that are named wherever a record or frame can name one.
        truths: The share of records that are true in form, whatever they say.

    """

    def __init__(
        self, seed: int, now_ms: int, victims: Sequence[AgentId] = (), *, truths: float = 0.3
    ) -> None:
        self.truths = truths
        self.rng = random.Random(seed)
        self.now_ms = now_ms
        self.victims = [*victims] or [Keypair.from_name("victim").agent]
        self.ids: list[bytes] = [bytes(32)]
        """Ids of records that exist, to be named by others."""
        self.raws: list[bytes] = []
        """Records that were made, to be damaged or said again."""
        self._authors = 0
        self._unsent: list[bytes] = []
        self._author = self._new_author()
        self._said = 0

    # Bytes.

    def noise(self, size: int) -> bytes:
        return self.rng.randbytes(size)

    def mutated(self, raw: bytes) -> bytes:
        """Damage ``raw`` once or more often."""
        for _ in range(self.rng.choice((1, 1, 1, 2, 5))):
            change = self.rng.choice(
                (
                    self._flip,
                    self._flip,
                    self._cut,
                    self._splice,
                    self._mark,
                    self._nest,
                    self._grow,
                )
            )
            raw = change(raw)
        return raw[: limits.FRAME_BYTES_MAX]

    def _place(self, raw: bytes) -> int:
        return self.rng.randrange(len(raw) + 1)

    def _flip(self, raw: bytes) -> bytes:
        if not raw:
            return raw
        place = self.rng.randrange(len(raw))
        return raw[:place] + bytes([raw[place] ^ 1 << self.rng.randrange(8)]) + raw[place + 1 :]

    def _cut(self, raw: bytes) -> bytes:
        return raw[: self._place(raw)]

    def _splice(self, raw: bytes) -> bytes:
        other = self.rng.choice(self.raws) if self.raws else b""
        return raw[: self._place(raw)] + other[self._place(other) :]

    def _mark(self, raw: bytes) -> bytes:
        place, mark = self._place(raw), self.rng.choice(MARKERS)
        return raw[:place] + mark + raw[place + self.rng.choice((0, 1, len(mark))) :]

    def _nest(self, raw: bytes) -> bytes:
        place, depth = self._place(raw), self.rng.choice((3, 9, 600, 20_000))
        return raw[:place] + self.rng.choice(NESTINGS) * depth + raw[place:]

    def _grow(self, raw: bytes) -> bytes:
        return raw + self.noise(self.rng.choice((1, 7, 3000)))

    # Values.

    def struct(self, kind: type[T], **given: Any) -> T:
        """Return a value of ``kind`` whose parts are of the right type, and otherwise anything."""
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        parts = {
            field.name: given[field.name] if field.name in given else self._of(field.type)
            for field in info.fields
        }
        return kind(**parts)

    def _of(self, kind: inspect.Type) -> Any:
        match kind:
            case inspect.UnionType(types=types):
                return self._of(self.rng.choice(types))
            case inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
                size = self.rng.randint(low or 0, min(high or ITEMS_MAX, ITEMS_MAX))
                return tuple(self._of(item) for _ in range(size))
            case inspect.StructType(cls=struct):
                return self.struct(struct)
            case inspect.IntType(ge=low, le=high):
                low, high = low or 0, limits.INTEGER_MAX if high is None else high
                middle = self.rng.randint(low, min(high, low + 100))
                return self.rng.choice((low, middle, middle, min(high, 60_000), high))
            case inspect.BytesType(min_length=low, max_length=high):
                return self._some_bytes(low or 0, high)
            case inspect.StrType(pattern=None, max_length=high):
                return self.rng.choice(("x", "pdf", "\u202e\x1b[2J", "é" * min(high or 8, 8)))
            case inspect.StrType():
                return self.rng.choice(NAMES)
            case inspect.LiteralType(values=values):
                return self.rng.choice(sorted(values, key=repr))
            case inspect.BoolType():
                return self.rng.random() < 0.5
            case _:
                return None

    def _some_bytes(self, low: int, high: int | None) -> bytes:
        if high == 32:
            return self.rng.choice((self.id(), self.agent(), self.id(), self.noise(32)))
        return self.noise(self.rng.randint(low, max(low, min(high or 64, 64))))

    def id(self) -> bytes:
        """Return the id of a record that exists."""
        return self.rng.choice(self.ids)

    def agent(self) -> AgentId:
        """Return a victim, the present author, or nobody."""
        return self.rng.choice((*self.victims, self._author.agent, AgentId(self.noise(32))))

    # Records.

    def body(self) -> kinds.Body:
        """Return what nobody honest would sign, of any kind."""
        if self.rng.random() < 0.25:
            return self._post()
        body: kinds.Body = self.struct(KINDS[self.rng.choice(sorted(KINDS))].body)
        return body

    def _post(self) -> kinds.Post:
        """Return a post that a node may well answer."""
        victim = self.rng.choice(self.victims)
        return make_post(
            capability=self.rng.choice(NAMES),
            capability_version=self.rng.choice((0, 1, 2)),
            mode=(mode := self.rng.choice(("direct", "claim", "auction"))),
            worker=victim if mode == "direct" else None,
            sequencer=self.rng.choice((self._author.agent, *self.victims)),
            bid_window_ms=self.rng.choice((0, 1, 1_000)),
            price=self.rng.choice((0, 100, limits.INTEGER_MAX)),
            sealed=self.rng.random() < 0.3 and mode == "auction",
            bidders_max=self.rng.choice((1, 8, limits.BIDS_PER_POST_MAX)),
            expires_in_ms=self.rng.choice((1, 2_000, 10_000)),
            idempotency_key=self.rng.choice(("", "once")),
        )

    def say(self, body: kinds.Body) -> Record | None:
        """Sign ``body`` as the present author; None if even our own code refuses to."""
        self._said += 1
        if self._said % RECORDS_PER_LOG == 0:
            self._author = self._new_author()
        try:
            record = self._author.say(body, self.now_ms + self.rng.choice((0, 1, 1_000)))
        except RemoteError:
            return None
        self._remember(record)
        return record

    def record(self) -> bytes:
        """Return a record as a stranger would send it: true, damaged, or nonsense truly signed."""
        if self._unsent:
            return self._unsent.pop(0)
        if self.raws and self.rng.random() > self.truths:
            raw = self.rng.choice(self.raws)
            choice = self.rng.random()
            if choice < 0.65:
                return self.mutated(raw)
            if choice < 0.85:
                return self._resigned(raw)
            if choice < 0.95:
                return raw
            return self.noise(self.rng.choice((0, 1, 100, 5_000)))
        record = self.say(self.body())
        if record is None:
            return b""
        self._unsent.append(record.raw)
        return self._unsent.pop(0)

    def _resigned(self, raw: bytes) -> bytes:
        """Damage what was signed, and sign that."""
        payload, _ = msgspec.msgpack.decode(raw)
        return sealed_payload(self._author.keys, self.mutated(payload)[: limits.PAYLOAD_BYTES_MAX])

    def _new_author(self) -> Trader:
        self._authors += 1
        name = f"stranger {self._authors} {self.rng.random()}"
        author = Trader.named(name, self.now_ms)
        genesis = author.say(kinds.Genesis(bytes(32)), self.now_ms)
        self._remember(genesis)
        self._unsent.append(genesis.raw)  # without it a relay takes nothing else that is logged
        return author

    def _remember(self, record: Record) -> None:
        for pool, value in ((self.ids, bytes(record.id)), (self.raws, record.raw)):
            pool.append(value)
            if len(pool) > POOL_MAX:
                del pool[self.rng.randrange(len(pool))]

    # Frames, letters.

    def publish(self, count: int) -> frames.Publish:
        """Return a publish frame with up to ``count`` records, as many as fit."""
        raws: list[bytes] = []
        room = limits.FRAME_BYTES_MAX - 64
        while len(raws) < count:
            raw = self.record()[: limits.RECORD_BYTES_MAX]
            room -= len(raw) + 5
            if room < 0:
                break
            raws.append(raw)
        return frames.Publish(1, tuple(raws))

    def request(self) -> frames.ToRelay:
        """Return a frame that a relay answers, about anything."""
        kind = self.rng.choice([kind for kind in TO_RELAY if kind is not frames.Hello])
        match kind:
            case frames.Publish:
                return self.publish(3)
            case frames.Mail:
                return frames.Mail(1, self.rng.choice(self.victims), self.letter())
            case frames.Subscribe:
                return self.struct(frames.Subscribe, filters=self._filters())
            case _:
                frame: frames.ToRelay = self.struct(kind)
                return frame

    def _filters(self) -> tuple[frames.Filter, ...]:
        few = [self.struct(frames.Filter) for _ in range(self.rng.choice((0, 1, 3)))]
        if self.rng.random() < 0.02:
            keys = tuple(self.noise(32) for _ in range(limits.VALUES_PER_FILTER_MAX))
            most = limits.FILTERS_PER_SUBSCRIPTION_MAX - len(few)
            few += [frames.Filter(authors=keys)] * most
        return tuple(few)

    def letter(self) -> bytes:
        """Return a letter to a victim: sealed or not, sense or not."""
        if self.rng.random() < 0.2:
            return self.noise(self.rng.choice((0, 31, 32, 200)))
        kind = self.rng.choice(get_args(Letter))
        content = letters.encode_letter(self.struct(kind))
        if self.rng.random() < 0.5:
            content = self.mutated(content)[: limits.LETTER_CONTENT_BYTES_MAX]
        to = self.rng.choice(self.victims)
        return seal_to(to, self._author.keys, content, entropy=self.noise(32))

    def fetch(self) -> frames.Fetch:
        """Ask a node for anything."""
        return self.struct(frames.Fetch)

    def broken(self) -> bytes:
        """Return bytes that are most likely no frame to expect here, with or without a length."""
        frame = self.struct(self.rng.choice(ANY_FRAME))
        body = codec.encode(frame)[: limits.FRAME_BYTES_MAX]
        match self.rng.randrange(8):
            case 0:
                return pack(body)  # a true frame, perhaps in the wrong direction
            case 1:
                return self.noise(self.rng.choice((1, 4, 400)))
            case 2:  # a length that lies
                lie = self.rng.choice((0, 1, len(body) + 1, limits.FRAME_BYTES_MAX + 1, 2**32 - 1))
                return lie.to_bytes(4, "big") + body
            case 3:
                return self.mutated(pack(body))
            case _:
                return pack(self.mutated(body))
