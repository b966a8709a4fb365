"""What a relay does for relays that are its peers, and what it knows of them.

A peer reads like anyone. Only peers say where agents listen, and hand on what was mailed to them.
"""

from collections.abc import Callable
from typing import TypeAlias

from bazaar_protocol import frames
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.evidence_kinds import Intake, Proof
from bazaar_protocol.identity import AgentId
from bazaar_protocol.peering_frames import (
    Compare,
    Compared,
    Forward,
    GetHeads,
    GetLogs,
    GetLoose,
    Here,
)
from bazaar_protocol.records import Record
from bazaar_relay.machine.events import (
    ConnectionId,
    Drop,
    Effect,
    PassOn,
    Present,
    Reply,
    Serve,
)
from bazaar_relay.machine.head_tree import HeadTree
from bazaar_relay.machine.pipeline import Pipeline
from bazaar_relay.machine.state import RelayState
from bazaar_relay.machine.whereabouts import Whereabouts
from bazaar_relay.storage.matching import accused_by

PeerFrame: TypeAlias = Compare | GetHeads | GetLogs | GetLoose | Here | Forward
_NOT_A_PEER = "this relay is not told that you are its peer"


class Federation:
    """Answers peers, and follows what they need to know.

    Args:
        state: What the relay knows.
        pipeline: Takes what is written.
        do: Has an effect done.
        listens: Tells whether an agent has a subscription now.

    """

    def __init__(
        self,
        state: RelayState,
        pipeline: Pipeline,
        do: Callable[[Effect], None],
        listens: Callable[[AgentId], bool],
    ) -> None:
        self.logs = HeadTree()
        self.whereabouts = Whereabouts(state.me)
        self._state = state
        self._pipeline = pipeline
        self._do = do
        self._listens = listens

    def take(self, connection: ConnectionId, peer: AgentId, frame: PeerFrame) -> None:
        """Answer a frame that only relays send."""
        match frame:
            case Compare(request=request, ranges=ranges):
                try:
                    parts = self.logs.compare(ranges)
                except MalformedRecord as error:
                    self._do(Drop(connection, error.code, str(error)))
                else:
                    self._do(Reply(connection, Compared(request, parts)))
            case GetHeads() | GetLogs() | GetLoose():
                self._do(Serve(connection, frame))
            case Here():
                self._hear(connection, peer, frame)
            case Forward():
                self._take_letter(connection, peer, frame)

    def leaves_out(self, agent: AgentId) -> bool:
        """Tell whether an agent's log is not compared."""
        return self.logs.leaves_out(agent)

    def listens_here(self, agent: AgentId) -> None:
        """Take note that an agent has subscribed."""
        if not self._is_peer(agent) and self.whereabouts.here(agent):
            self._do(Present(agent))

    def letter_kept(self, agent: AgentId) -> None:
        """Have a letter passed on if its addressee listens at a peer."""
        peer = self.whereabouts.peer_of(agent)
        if peer is not None:
            self._do(PassOn(peer, agent))

    def record_kept(self, record: Record) -> None:
        """Count a record that is durable."""
        if record.seq:
            self.logs.advance(record)
        elif isinstance(record.body, Proof):
            accused = accused_by(record)
            if accused is not None and accused != self._state.me:
                self.logs.leave_out(accused, self._state.committed_head(accused))

    def wants_receipt(self, record: Record) -> bool:
        """Tell whether a record is to be under a receipt soon: not a receipt that a peer has."""
        return not (isinstance(record.body, Intake) and self._state.origins.knows(record.id))

    def _hear(self, connection: ConnectionId, peer: AgentId, here: Here) -> None:
        if not self._is_peer(peer):
            self._do(Drop(connection, "refused", _NOT_A_PEER))
            return
        for agent in map(AgentId, here.agents):
            if not self._listens(agent):  # else it is here as well, which is nearer
                self.whereabouts.there(agent, peer)
                self._do(PassOn(peer, agent))

    def _take_letter(self, connection: ConnectionId, peer: AgentId, letter: Forward) -> None:
        if not self._is_peer(peer):
            error = frames.Error(letter.request, "refused", _NOT_A_PEER)
            self._do(Reply(connection, error))
        elif not self.whereabouts.is_here(AgentId(letter.to)):
            reason = "it was not heard here, or later elsewhere"
            self._do(Reply(connection, frames.Error(letter.request, "not-found", reason)))
        else:
            self._pipeline.forward(connection, peer, letter)

    def _is_peer(self, agent: AgentId) -> bool:
        return agent in self._state.admission.policy.peers
