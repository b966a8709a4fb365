"""Several agents in one column: their ids, one after another."""

from bazaar_protocol.identity import AGENT_ID_BYTES, AgentId


def split_agents(joined: bytes) -> tuple[AgentId, ...]:
    """Return the agents whose ids stand one after another in ``joined``."""
    starts = range(0, len(joined), AGENT_ID_BYTES)
    return tuple(AgentId(joined[start : start + AGENT_ID_BYTES]) for start in starts)
