"""The relay's own log: what it signs there is in the group that is gathered, or nowhere."""

from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Body, Genesis
from bazaar_protocol.records import Record, seal
from bazaar_relay.machine.state import RelayState


def append(state: RelayState, body: Body, audience: tuple[AgentId, ...], now_ms: int) -> Record:
    """Sign the next entry. It leaves once it is durable, and is taken back if that fails."""
    if not state.own_head.seq and not isinstance(body, Genesis):
        # The commit that held the first entry has failed, so that was taken back as well.
        append(state, Genesis(state.recovery), (), now_ms)
    head = state.own_head
    record = seal(state.keys, body, time_ms=now_ms, seq=head.seq + 1, prev=head.id)
    state.group.keep(record, audience, None)
    state.remember(record, now_ms)
    state.remember_entry(record)
    return record
