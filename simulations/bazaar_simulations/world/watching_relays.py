"""What is looked at after each transaction of a relay, and at each frame that it sends or gets."""

from contextlib import nullcontext, suppress

from bazaar_protocol import frames
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Award
from bazaar_protocol.records import RecordId, record_id
from bazaar_simulations.world.attempts import Attempts, Taken
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.journal import short
from bazaar_simulations.world.known_records import KnownRecords
from bazaar_simulations.world.network import WeatherLink
from bazaar_simulations.world.relay_process import RelayProcess
from bazaar_simulations.world.watching_nodes import NodeWatch

_NOT_LOST = "what was acknowledged is never lost"
_PUBLISH, _PUBLISHED, _EVENT = b"\xa7publish", b"\xa9published", b"\xa5event"
_TAG_AT = slice(1, 11)
_TAKEN = ("accepted", "duplicate")


class RelayWatch:
    """Follows what a relay makes durable."""

    def __init__(self, relay: RelayProcess, known: KnownRecords) -> None:
        self.relay = relay
        self.durable: set[RecordId] = set()
        """Every record that it ever had."""
        self.promised: set[RecordId] = set()
        """The log entries that it said it has."""
        self._known = known
        self._cursor = 0
        self._attempts = Attempts(relay.name, relay.keys.agent)

    def look(self) -> None:
        """Look at what is new.

        Raises:
            BrokenInvariant: It must not be.

        """
        db = self.relay.disk.look(self.relay.database)
        if db is None or not db.execute("PRAGMA user_version").fetchone()[0]:
            return
        rows = db.execute(
            "SELECT cursor, raw FROM record WHERE cursor > ? ORDER BY cursor", (self._cursor,)
        )
        for cursor, raw in rows.fetchall():
            self._cursor = cursor
            if raw:  # else it is one more route of an older record
                self._take(raw)

    def check_kept(self) -> None:
        """Check that it still has what it said it has.

        Raises:
            BrokenInvariant: It has not.

        """
        db = self.relay.disk.look(self.relay.database)
        if db is None:
            return
        kept = {record_id(raw) for (raw,) in db.execute("SELECT raw FROM record") if raw}
        for lost in self.promised - kept:
            raise BrokenInvariant(_NOT_LOST, f"{self.relay.name} lost record {short(lost)}")

    def _take(self, raw: bytes) -> None:
        record = self._known.take(raw, self.relay.name)
        self.durable.add(record.id)
        self._known.keep(record)
        self.relay.note(f"keeps {record.kind} {short(record.id)}")
        body = record.body
        if record.author == self.relay.keys.agent and isinstance(body, Award):
            award = Taken(body.task, "award", body.epoch, record.author, body.worker)
            self._attempts.take(award)


class Wire:
    """Looks at what nodes and relays say to each other, before it is under way."""

    def __init__(self, known: KnownRecords) -> None:
        self.nodes: dict[AgentId, NodeWatch] = {}
        self.relays: dict[AgentId, RelayWatch] = {}
        self._known = known
        self._asked: dict[WeatherLink, dict[int, tuple[bytes, ...]]] = {}

    def see(self, link: WeatherLink, bodies: list[bytes]) -> None:
        """Look at frames that are sent on ``link``.

        Raises:
            BrokenInvariant: They say what nobody may say.

        """
        for body in bodies:
            tag = body[_TAG_AT]
            if tag.startswith(_PUBLISH):
                # Strangers may send anything: what a relay makes of it is seen in its store.
                with nullcontext() if link.sender in self.nodes else suppress(MalformedRecord):
                    self._see_publish(link, frames.decode_to_relay(body))
            elif link.sender in self.relays and tag.startswith((_PUBLISHED, _EVENT)):
                self._see_answer(link, frames.decode_from_relay(body))

    def _see_publish(self, link: WeatherLink, frame: frames.ToRelay) -> None:
        assert isinstance(frame, frames.Publish)
        self._asked.setdefault(link, {})[frame.request] = frame.records
        node = self.nodes.get(link.sender)
        if node is None:
            return
        for raw in frame.records:
            name = record_id(raw)
            is_known = self._known.get(name) is not None
            record = self._known.take(raw, node.node.name)
            if not record.seq or record.author != link.sender:
                continue
            if not is_known or name not in node.durable:
                raise BrokenInvariant(
                    "nothing is said before it is durable",
                    f"{node.node.name} published {record.kind} {record.seq} before its commit",
                )
            self._known.spread(record)

    def _see_answer(self, link: WeatherLink, frame: frames.FromRelay) -> None:
        relay = self.relays[link.sender]
        match frame:
            case frames.Published(request, statuses):
                raws = self._asked.get(link.far_end, {}).pop(request, ())
                for raw, status in zip(raws, statuses, strict=False):
                    if status in _TAKEN:
                        self._see_promise(relay, raw)
            case frames.Event(cursor, raw):
                if record_id(raw) not in relay.durable:
                    raise BrokenInvariant(
                        "nothing is said before it is durable",
                        f"{relay.relay.name} sent the record of cursor {cursor} before its commit",
                    )
            case _:
                pass

    def _see_promise(self, relay: RelayWatch, raw: bytes) -> None:
        record = self._known.take(raw, relay.relay.name)
        if record.id not in relay.durable:
            raise BrokenInvariant(
                _NOT_LOST,
                f"{relay.relay.name} acknowledged {record.kind} {short(record.id)}, "
                "and does not have it",
            )
        if record.seq:
            relay.promised.add(record.id)
