"""Relays that do not do what they promise."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from bazaar_protocol import frames
from bazaar_protocol.evidence_kinds import Statement
from bazaar_protocol.frames import encode_frame
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, RecordId, Unknown, parse, seal
from bazaar_simulations.world import observing
from bazaar_simulations.world.adversaries.adversary import Profile
from bazaar_simulations.world.adversaries.liars import Edition, LyingRelay, from_relay, to_relay
from bazaar_simulations.world.adversaries.mutations import Mutator
from bazaar_simulations.world.lying import LyingLink

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

_TAMPERED: Final = 0.25
"""The share of records that are not what they were."""
_REPLAYED: Final = 0.3
_KEPT_FRAMES: Final = 64
F = TypeVar("F", bound=frames.FromRelay)


class HostileRelay(LyingRelay):
    """A relay that lies from some moment on."""

    honest_s = 40.0
    """So long it is a relay like any other."""

    @property
    def is_lying(self) -> bool:
        """Whether that moment has come."""
        return self.ground.true_s() >= self.honest_s

    def act(self) -> None:
        """Take note that it has done what it should not."""
        if self.acted_s is None:
            self.acted_s = self.ground.true_s()
            self.note("lies")

    def outstanding(self, world: "World") -> str:
        del world
        return "" if self.acted_s is not None else "it has not lied"


class Censor(HostileRelay):
    """Says that it has taken what some authors publish, and has not."""

    profile = Profile(
        "censor",
        "relay",
        "Singh, Ngan, Druschel & Wallach 2006; Nostr relays that drop what they like",
        "no receipt comes for what it said it has taken; the other relays carry the trade",
        "share of the tasks of those it censors that are accepted",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._edition = Edition(self._edit)
        self._victims: dict[AgentId, bool] = {}

    def hears(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        return (self._edition.publish(link, body),)

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        return (self._edition.published(link, body),)

    def figures(self, world: "World") -> Mapping[str, float]:
        victims = [node for node in world.honest if self._victims.get(node.keys.agent)]
        found = observing.outcomes(victims)
        return {
            "victims": len(victims),
            "victims served": found["accepted"] / max(found.total(), 1),
        }

    def _edit(self, link: LyingLink, raw: bytes) -> bytes | None:
        author = parse(raw)[0].author
        # Every other author that it gets to know, whatever they do.
        is_victim = self._victims.setdefault(author, len(self._victims) % 2 == 0)
        if not is_victim or not self.is_lying:
            return raw
        self.act()
        del link
        return None


class Withholder(HostileRelay):
    """Gives receipts for all it takes, and then shows logs as they were before."""

    profile = Profile(
        "withholder",
        "relay",
        "Laurie, Langley & Kasper 2013 (certificate transparency: logs that leave out entries)",
        "its receipt and its later statement contradict each other: an omission",
        "seconds until every honest node holds the omission",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._shown: dict[AgentId, Record] = {}
        self._asked: dict[LyingLink, dict[int, frames.ToRelay]] = {}

    def hears(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        frame = to_relay(body)
        match frame:
            case frames.Publish(_, raws) if not self.is_lying:
                for record in (parse(raw)[0] for raw in raws):
                    known = self._shown.get(record.author)
                    if record.seq > (known.seq if known else 0):
                        self._shown[record.author] = record
            case frames.GetHead() | frames.GetLog() | frames.GetStatement():
                self._asked.setdefault(link, {})[frame.request] = frame
            case _:
                pass
        return (body,)

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        frame = from_relay(body)
        if not self.is_lying or not isinstance(frame, frames.Segment | frames.Stated):
            return (body,)
        asked = self._asked.get(link, {}).pop(frame.request, None)
        author = getattr(asked, "author", None)
        shown = None if author is None else self._shown.get(AgentId(author))
        if shown is None:
            return (body,)
        return (encode_frame(self._older(frame, asked, shown)),)

    def _older(
        self, frame: frames.Segment | frames.Stated, asked: object, shown: Record
    ) -> frames.FromRelay:
        if isinstance(frame, frames.Stated):
            body = parse(frame.record)[0].body
            assert isinstance(body, Statement)
            less = Statement(shown.author, shown.seq, shown.id, body.own_seq)
            now_ms = parse(frame.record)[0].time_ms
            return msgspec.structs.replace(frame, record=seal(self.keys, less, time_ms=now_ms).raw)
        later = [raw for raw in frame.records if parse(raw)[0].seq > shown.seq]
        if not later:
            return frame
        self.act()
        if isinstance(asked, frames.GetHead):
            return msgspec.structs.replace(frame, records=(shown.raw,))
        kept = tuple(raw for raw in frame.records if parse(raw)[0].seq <= shown.seq)
        return msgspec.structs.replace(frame, records=kept, more=False)

    def outstanding(self, world: "World") -> str:
        return super().outstanding(world) or _unproved(world, self.keys.agent, "omission")


class Equivocator(HostileRelay):
    """Signs two versions of its own log, and shows now one and now the other.

    One that shows each node always the same could be found out only by comparing what nodes were
    shown; those of this world hear of a relay's log from that relay alone.
    """

    profile = Profile(
        "equivocating relay",
        "relay",
        "Li, Krohn, Mazières & Shasha 2004 (SUNDR); Chun et al. 2007 (attested memory)",
        "two entries of its log with one number: awards and receipts stand in that log",
        "seconds until every honest node holds the proof",
    )
    face_s = 90.0
    """For so long it shows one version of its log."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._branch: dict[RecordId, Record] = {}
        self._entries: dict[RecordId, Record] = {}
        self._cursor = 0
        self._from_seq = 0

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        del link
        is_other = int(self.ground.true_s() / self.face_s) % 2 == 1
        frame = from_relay(body)
        if frame is None or not self.is_lying:
            return (body,)
        return (encode_frame(_with_records(frame, self._face if is_other else self._note)),)

    def outstanding(self, world: "World") -> str:
        return super().outstanding(world) or _unproved(world, self.keys.agent, "equivocation")

    def _note(self, raw: bytes) -> bytes:
        record = parse(raw)[0]
        if record.author == self.keys.agent and record.seq > 1 and not self._from_seq:
            self._from_seq = record.seq
        return raw

    def _face(self, raw: bytes) -> bytes:
        self._note(raw)
        entry = parse(raw)[0]
        if entry.author != self.keys.agent or not 0 < self._from_seq <= entry.seq:
            return raw
        self.act()
        return self._other(entry).raw

    def _other(self, entry: Record) -> Record:
        known = self._branch.get(entry.id)
        if known is None:
            before = self._before(entry)
            assert not isinstance(entry.body, Unknown)
            known = self._branch[entry.id] = seal(
                self.keys, entry.body, time_ms=entry.time_ms + 1, seq=entry.seq, prev=before
            )
        return known

    def _before(self, entry: Record) -> RecordId:
        """Return what stands before an entry in the other version, all of which it has to make."""
        if entry.seq <= self._from_seq:
            return RecordId(entry.prev)
        return self._other(self._own_log()[RecordId(entry.prev)]).id

    def _own_log(self) -> Mapping[RecordId, Record]:
        db = self.disk.look(self.database)
        assert db is not None
        rows = db.execute("SELECT cursor, raw FROM record WHERE cursor > ?", (self._cursor,))
        for self._cursor, raw in rows.fetchall():
            record = parse(raw)[0] if raw else None
            if record is not None and record.author == self.keys.agent:
                self._entries[record.id] = record
        return self._entries


class Tamperer(HostileRelay):
    """Changes records on their way, in fourteen ways."""

    profile = Profile(
        "tamperer",
        "relay",
        "Dolev & Yao 1983",
        "signatures, names that are hashes, and one encoding for each value",
        "forged records that somebody honest keeps",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._chance = self.chance.under("lies")
        self._mutator = Mutator(self._chance.rng, self._chance.keys())
        self.forged = 0

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        del link
        frame = from_relay(body)
        return (body,) if frame is None else (encode_frame(_with_records(frame, self._change)),)

    def figures(self, world: "World") -> Mapping[str, float]:
        del world
        return {"forged": self.forged}

    def _change(self, raw: bytes) -> bytes:
        if not self.is_lying or not self._chance.happens(_TAMPERED):
            return raw
        self.act()
        self.forged += 1
        return self._mutator.mutate(raw)


class Replayer(HostileRelay):
    """Says old things again, in another order, and as answers to other questions."""

    profile = Profile(
        "replayer",
        "relay",
        "Syverson 1994 (a taxonomy of replay attacks)",
        "a record counts once, by its name; order comes from logs and epochs, not from arrival",
        "frames said again",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._chance = self.chance.under("lies")
        self._old: list[bytes] = []
        self._late: list[bytes] = []
        self.replayed = 0

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        del link
        return list(self._said(body)) if self.is_lying else self._kept(body)

    def figures(self, world: "World") -> Mapping[str, float]:
        del world
        return {"replayed": self.replayed}

    def _said(self, body: bytes) -> Iterator[bytes]:
        frame = from_relay(body)
        is_event = isinstance(frame, frames.Event)
        if is_event and self._chance.happens(_REPLAYED):
            self.act()
            self._late.append(body)  # others overtake it
            return
        yield from self._kept(body)
        if self._late and self._chance.happens(0.5):
            yield self._late.pop()
        if self._old and self._chance.happens(_REPLAYED):
            self.replayed += 1
            self.act()
            yield self._renumbered(self._chance.rng.choice(self._old), frame)

    def _renumbered(self, old: bytes, now: frames.FromRelay | None) -> bytes:
        """Say something old with a number of now, and maybe a cursor that never was."""
        frame = from_relay(old)
        if isinstance(frame, frames.Event) and self._chance.happens(0.5):
            cursor = frame.cursor + self._chance.rng.randrange(100)
            return encode_frame(frames.Event(cursor, frame.record))
        request = getattr(now, "request", None)
        if frame is not None and request is not None and hasattr(frame, "request"):
            number = request + self._chance.rng.choice((0, 1, 2))
            return encode_frame(msgspec.structs.replace(frame, request=number))
        return old

    def _kept(self, body: bytes) -> Iterable[bytes]:
        self._old.append(body)
        if len(self._old) > _KEPT_FRAMES:
            self._old.pop(0)
        return (body,)


def _unproved(world: "World", agent: AgentId, claim: str) -> str:
    unaware = [node.name for node in world.honest if observing.conviction(node, agent) != claim]
    return f"{', '.join(unaware)} hold no proof" if unaware else ""


def _with_records(frame: F, change: Any) -> F:
    """Return a frame with all its records changed."""
    match frame:
        case frames.Event(_, raw) | frames.Stated(_, raw) | frames.Claimed(_, raw):
            return msgspec.structs.replace(frame, record=change(raw))
        case frames.Included(_, raw):
            return msgspec.structs.replace(frame, intake=change(raw))
        case frames.Segment(_, raws) | frames.Adverts(_, raws):
            return msgspec.structs.replace(frame, records=tuple(map(change, raws)))
        case _:
            return frame
