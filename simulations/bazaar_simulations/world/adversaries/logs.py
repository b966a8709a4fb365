"""Adversaries that do not stand by their own logs."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bazaar_host.addresses import Address
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, RecordId, Unknown, parse, seal
from bazaar_simulations.world import observing
from bazaar_simulations.world.adversaries.adversary import Profile
from bazaar_simulations.world.adversaries.liars import Edition, LyingNode
from bazaar_simulations.world.lying import LyingLink
from bazaar_simulations.world.node_process import NodeProcess

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

_CHANCE_S: Final = 600.0
"""If nobody got a link within so long, there was nothing to see."""
_HONEST_S: Final = 30.0
"""So long it is like the others, and makes a name for itself."""


class TwoFaced(LyingNode):
    """Shows its second relay another log than its first."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._edition = Edition(self._edit)
        self._second: AgentId | None = Address.parse(self.settings.relays[1]).peer
        self._from_seq = 0
        """The first entry that differs; 0 while there is none."""

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        return (self._edition.publish(link, body),)

    def hears(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        return (self._edition.published(link, body),)

    def shown(self, entry: Record) -> bytes | None:
        """Return what the second relay gets in the place of an entry."""
        raise NotImplementedError

    def _edit(self, link: LyingLink, raw: bytes) -> bytes | None:
        record = parse(raw)[0]
        is_first = link.peer != self._second or self.ground.true_s() < _HONEST_S
        if is_first or record.author != self.keys.agent or not record.seq:
            return raw
        if not self._from_seq:
            self._from_seq = record.seq
            self.acted_s = self.ground.true_s()
            self.note(f"has two logs from entry {record.seq} on")
        return raw if record.seq < self._from_seq else self.shown(record)


class Forker(TwoFaced):
    """Signs two entries for each place of its log, one for either audience."""

    profile = Profile(
        "forker",
        "log",
        "Li, Krohn, Mazières & Shasha 2004 (SUNDR: forking); Haeberlen et al. 2007 (PeerReview)",
        "two entries with one number: whoever has both publishes them as a proof",
        "seconds until every honest node holds the proof",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._branch: dict[RecordId, Record] = {}

    def shown(self, entry: Record) -> bytes:
        other = self._branch.get(entry.id)
        if other is None:
            assert not isinstance(entry.body, Unknown)
            before = self._branch.get(RecordId(entry.prev))
            other = self._branch[entry.id] = seal(
                self.keys,
                entry.body,
                time_ms=entry.time_ms + 1,
                seq=entry.seq,
                prev=RecordId(entry.prev) if before is None else before.id,
            )
        return other.raw

    def outstanding(self, world: "World") -> str:
        if self.acted_s is None:
            return "it has signed nothing twice"
        unaware = [
            node.name for node in world.honest if not observing.conviction(node, self.keys.agent)
        ]
        return f"{', '.join(unaware)} hold no proof" if unaware else ""


class Truncator(TwoFaced):
    """Shows its second relay a log that ends early, and goes on at the first."""

    profile = Profile(
        "truncator",
        "log",
        "Haeberlen, Kouznetsov & Druschel 2007 (PeerReview: omitted entries)",
        "others' links name later entries than anybody can get",
        "seconds until all miss something who know only its second relay and hold a link",
    )

    def shown(self, entry: Record) -> None:
        del entry

    def outstanding(self, world: "World") -> str:
        if self.acted_s is None:
            return "it has hidden nothing"
        able = [node for node in world.honest if self._can_know(node)]
        if not able and world.loop.time() < self.acted_s + _CHANCE_S:
            return "nobody who knows only its second relay has got a link to what it hides"
        unaware = [
            node.name for node in able if "cut-tail" not in observing.flaws(node, self.keys.agent)
        ]
        return f"{', '.join(unaware)} miss no entry of it" if unaware else ""

    def figures(self, world: "World") -> Mapping[str, float]:
        return {"nodes that can know": sum(map(self._can_know, world.honest))}

    def _can_know(self, node: NodeProcess) -> bool:
        """Tell whether a node at the second relay alone holds a link to a hidden entry."""
        if self.settings.relays[0] in node.settings.relays:
            return False
        return observing.newest_link(node, self.keys.agent) >= self._from_seq
