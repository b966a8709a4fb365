"""Adversaries that lie about when something was, or say again what was before."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bazaar_protocol import frames
from bazaar_protocol.frames import encode_frame
from bazaar_protocol.kinds import Deliver, Heartbeat
from bazaar_protocol.records import parse
from bazaar_simulations.world import observing
from bazaar_simulations.world.adversaries.adversary import Adversary, Profile
from bazaar_simulations.world.adversaries.liars import Edition, LyingNode, from_relay, to_relay
from bazaar_simulations.world.lying import LyingLink
from bazaar_simulations.world.node_process import NodeProcess

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

_DAY_S: Final = 86_400.0
_HELD_BACK_S: Final = 60.0
"""Longer than a lease lasts without a heartbeat."""
_SAID_AGAIN: Final = 0.3
_HEARD_MAX: Final = 256
_FIRST_OF_OURS: Final = 2**40
"""Numbers of requests that the node itself never reaches."""


class WrongClock(Adversary, NodeProcess):
    """Has a clock that is wrong by days; its kinds say in which direction."""

    def outstanding(self, world: "World") -> str:
        del world
        return ""

    def harm(self, world: "World") -> str:
        taken = observing.bids(world.honest, self.keys.agent)
        return f"{taken} of its bids were taken" if taken else ""

    def figures(self, world: "World") -> Mapping[str, float]:
        # A direct award reaches it all the same; that an entry of its log is old changes nothing.
        return {"attempts": observing.attempts(world.honest, self.keys.agent).total()}


class AheadOfTime(WrongClock):
    """Dates what it signs forty days ahead, to be the newest for ever."""

    profile = Profile(
        "ahead of time",
        "time",
        "Malhotra, Cohen, Brakke & Goldberg 2016 (attacking clocks)",
        "records dated after the receiver's own clock are refused; no order comes from a date",
        "tasks that it gets",
    )
    clock_is_ahead_s = 40 * _DAY_S


class BehindTime(WrongClock):
    """Dates what it signs forty days back, to have been there before others."""

    profile = Profile(
        "behind time",
        "time",
        "Haber & Stornetta 1991 (back-dated documents)",
        "bids and posts that are too old to be new are refused; no order comes from a date",
        "tasks that it gets",
    )
    clock_is_ahead_s = -40 * _DAY_S


class BackDater(LyingNode):
    """Lets a lease run out, and hands in then what is dated within it.

    Until the breach is signed a late result still counts; after it none may (no stale write).
    """

    profile = Profile(
        "back-dating",
        "time",
        "Haber & Stornetta 1991; Gray & Cheriton 1989 (fencing)",
        "that the attempt is over, by the sequencer's own clock and epochs",
        "results that are taken after the breach",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._edition = Edition(self._edit)
        self._held_s: dict[int, float] = {}
        self._late: set[bytes] = set()

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        return (self._edition.publish(link, body),)

    def hears(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        return (self._edition.published(link, body),)

    def outstanding(self, world: "World") -> str:
        ends = observing.attempts(world.honest, self.keys.agent)
        return "" if ends["breach"] + ends["withdraw"] else "no lease of it has run out"

    def figures(self, world: "World") -> Mapping[str, float]:
        ends = observing.attempts(world.honest, self.keys.agent)
        late, in_time = len(self._late), ends["accepted"]
        return {"attempts": ends.total(), "handed in late": late, "before the breach": in_time}

    def _edit(self, link: LyingLink, raw: bytes) -> bytes | None:
        del link
        record = parse(raw)[0]
        if isinstance(record.body, Heartbeat):
            return None
        if record.author != self.keys.agent or not record.seq:
            return raw
        now_s = self.ground.true_s()
        if isinstance(record.body, Deliver):
            self.acted_s = self.acted_s or now_s
            self._held_s.setdefault(record.seq, now_s)
        is_held = any(
            record.seq >= seq and now_s < held_s + _HELD_BACK_S
            for seq, held_s in self._held_s.items()
        )
        if not is_held and record.seq in self._held_s:
            self._late.add(record.id)
        return None if is_held else raw


class Parrot(LyingNode):
    """Publishes again whatever it has heard or said: bids, posts, awards, results."""

    profile = Profile(
        "replayed bids",
        "time",
        "Syverson 1994 (a taxonomy of replay attacks)",
        "that a record with this name is here already",
        "records that are taken a second time",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._heard: list[bytes] = []
        self._number = _FIRST_OF_OURS
        self._asked: dict[int, bytes] = {}
        self._chance = self.chance.under("lies")
        self._statuses: Counter[str] = Counter()

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        frame = to_relay(body)
        yield body
        if isinstance(frame, frames.Publish):
            self._remember(*frame.records)
        if self._heard and frame is not None and not isinstance(frame, frames.Hello):
            again = self._chance.rng.choice(self._heard)
            if self._chance.happens(_SAID_AGAIN):
                self._number += 1
                self._asked[self._number] = again
                self.acted_s = self.acted_s or self.ground.true_s()
                yield encode_frame(frames.Publish(self._number, (again,)))
        del link

    def hears(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        del link
        match from_relay(body):
            case frames.Event(_, raw):
                self._remember(raw)
            case frames.Published(number, statuses) if number in self._asked:
                self._asked.pop(number)
                self._statuses.update(status.partition(":")[0] for status in statuses)
                return ()
            case _:
                pass
        return (body,)

    def outstanding(self, world: "World") -> str:
        del world
        return "" if self._statuses.total() else "it has said nothing again"

    def harm(self, world: "World") -> str:
        taken = self._statuses["accepted"] if len(world.relays) == 1 else 0
        return f"{taken} records were taken a second time" if taken else ""

    def figures(self, world: "World") -> Mapping[str, float]:
        del world
        return {f"statuses {status}": float(n) for status, n in self._statuses.items()}

    def _remember(self, *raws: bytes) -> None:
        self._heard += raws
        del self._heard[:-_HEARD_MAX]
