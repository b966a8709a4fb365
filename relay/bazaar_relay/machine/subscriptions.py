"""Which connections want a record. Subscribers with the same filters are asked about it once."""

from dataclasses import dataclass, field
from typing import TypeAlias

from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record
from bazaar_relay.machine.events import ConnectionId, Deliver
from bazaar_relay.machine.origins import Origins
from bazaar_relay.storage.matching import matches
from bazaar_relay.storage.store import Stored

Filters: TypeAlias = tuple[Filter, ...]
Wanted: TypeAlias = tuple[Filters, AgentId | None]
"""What is wanted, and the peer that wants it: it is not told what it has told us."""


@dataclass(slots=True)
class _Group:
    members: dict[ConnectionId, None] = field(default_factory=dict)
    waiting: list[Stored] = field(default_factory=list)


class Subscriptions:
    """The standing subscription of each connection, and the events of the current batch."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._wanted: dict[ConnectionId, Wanted] = {}
        self._groups: dict[Wanted, _Group] = {}
        self._general: dict[Wanted, None] = {}
        self._by_kind: dict[str, dict[Wanted, None]] = {}
        """Those that want some kinds whomever they are for: every node's, so no record but one of
        these kinds may cost a look at them."""
        self._by_addressee: dict[AgentId, dict[Wanted, None]] = {}
        self._touched: dict[Wanted, None] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def set(self, connection: ConnectionId, filters: Filters, peer: AgentId | None = None) -> None:
        """Replace what ``connection`` is subscribed to; ``peer`` if it is that of a peer."""
        self.remove(connection)
        wanted = (filters, peer)
        self._wanted[connection] = wanted
        if wanted not in self._groups:
            self._groups[wanted] = _Group()
            for agent in _addressees(filters):
                self._by_addressee.setdefault(agent, {})[wanted] = None
            for kind in _kinds(filters):
                self._by_kind.setdefault(kind, {})[wanted] = None
            if any(not one.to and not one.kinds for one in filters):
                self._general[wanted] = None
        self._groups[wanted].members[connection] = None

    def remove(self, connection: ConnectionId) -> None:
        """End the subscription of ``connection``, if it has one."""
        wanted = self._wanted.pop(connection, None)
        if wanted is None:
            return
        group = self._groups[wanted]
        del group.members[connection]
        if group.members:
            return
        del self._groups[wanted]
        self._general.pop(wanted, None)
        self._touched.pop(wanted, None)
        filters, _ = wanted
        for agent in _addressees(filters):
            del self._by_addressee[agent][wanted]
            if not self._by_addressee[agent]:
                del self._by_addressee[agent]
        for kind in _kinds(filters):
            del self._by_kind[kind][wanted]
            if not self._by_kind[kind]:
                del self._by_kind[kind]

    def has(self, connection: ConnectionId) -> bool:
        """Tell whether ``connection`` has subscribed."""
        return connection in self._wanted

    def publish(self, stored: Stored, record: Record, audience: tuple[AgentId, ...]) -> None:
        """Put ``record`` before everyone who wants it; ``collect`` says who that was."""
        if not audience and not self._general and record.kind not in self._by_kind:
            return
        asked: dict[Wanted, None] = {}
        for agent in audience:
            asked |= self._by_addressee.get(agent, {})
        asked |= self._by_kind.get(record.kind, {})
        asked |= self._general
        self._ask(asked, stored, record, audience)

    def route(self, stored: Stored, record: Record, agent: AgentId) -> None:
        """Put a record that is no news before one more addressee."""
        for wanted in self._by_addressee.get(agent, {}):
            if any(one.to and matches(one, record, (agent,)) for one in wanted[0]):
                self._wait(wanted, stored)

    def collect(self) -> list[Deliver]:
        """Return the events since the last call, for each group of subscribers its own."""
        delivered: list[Deliver] = []
        for wanted in self._touched:
            group = self._groups[wanted]
            delivered.append(Deliver(tuple(group.members), tuple(group.waiting)))
            group.waiting.clear()
        self._touched.clear()
        return delivered

    def _ask(
        self,
        asked: dict[Wanted, None],
        stored: Stored,
        record: Record,
        audience: tuple[AgentId, ...],
    ) -> None:
        for wanted in asked:
            filters, peer = wanted
            if peer is not None and self._origins.has(record.id, peer):
                continue
            if any(matches(one, record, audience) for one in filters):
                self._wait(wanted, stored)

    def _wait(self, wanted: Wanted, stored: Stored) -> None:
        self._groups[wanted].waiting.append(stored)
        self._touched[wanted] = None


def _addressees(filters: Filters) -> dict[AgentId, None]:
    return dict.fromkeys(AgentId(agent) for one in filters for agent in one.to)


def _kinds(filters: Filters) -> dict[str, None]:
    return dict.fromkeys(kind for one in filters if not one.to for kind in one.kinds)
