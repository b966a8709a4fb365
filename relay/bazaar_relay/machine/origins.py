"""Which peers have a record, as far as they have shown it: so that they are not told of it."""

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_relay.machine.bounded import Bounded


class Origins:
    """The peers that handed a record to us, for the newest ones."""

    def __init__(self) -> None:
        self._peers: Bounded[RecordId, tuple[AgentId, ...]] = Bounded(limits.ORIGINS_KEPT_MAX)

    def note(self, record: RecordId, peer: AgentId) -> None:
        """Take note that ``peer`` has a record."""
        peers = self._peers.get(record) or ()
        if peer not in peers:
            self._peers.put(record, (*peers, peer))

    def has(self, record: RecordId, peer: AgentId) -> bool:
        """Tell whether ``peer`` has shown that it has a record."""
        return peer in (self._peers.get(record) or ())

    def knows(self, record: RecordId) -> bool:
        """Tell whether any peer has handed a record to us, as far as is remembered."""
        return self._peers.get(record) is not None
