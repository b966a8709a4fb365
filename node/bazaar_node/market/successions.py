"""Which identities were ended by their recovery keys, and who carries on for them.

Whoever holds a stolen key can still sign with it, for ever. So what an ended identity signs means
nothing here, except the entries of its log up to the last honest one.
"""

from collections.abc import Iterable

from bazaar_protocol.evidence_kinds import Succession
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record

GENERATIONS_MAX = 64
"""How often one may hand on; it also ends a circle."""


class Successions:
    """The successions that are known, each checked against its genesis before it comes here.

    Of several for one identity (its owner alone can sign them) the one that leaves least of it
    counts, and among those the smallest heir: so the order in which they are heard is of no matter.

    Args:
        known: Records of them.

    """

    def __init__(self, known: Iterable[Record] = ()) -> None:
        self._of: dict[AgentId, Succession] = {}
        for record in known:
            self.add(record)

    def add(self, record: Record) -> bool:
        """Take note of a succession; tell whether it changes anything."""
        body = record.body
        assert isinstance(body, Succession)
        known = self._of.get(AgentId(body.old))
        if known is not None and (known.last_seq, known.new) <= (body.last_seq, body.new):
            return False
        self._of[AgentId(body.old)] = body
        return True

    def has_ended(self, agent: AgentId) -> bool:
        """Tell whether an identity was ended, so that only a thief may still use its key."""
        return agent in self._of

    def heir(self, agent: AgentId) -> AgentId:
        """Return who carries on for ``agent`` now: itself, if it was not ended."""
        for _ in range(GENERATIONS_MAX):
            body = self._of.get(agent)
            if body is None:
                break
            agent = AgentId(body.new)
        return agent

    def is_void(self, record: Record) -> bool:
        """Tell whether ``record`` means nothing, since its author was ended before it."""
        body = self._of.get(record.author)
        if body is None:
            return False
        if record.seq == body.last_seq:
            return record.id != body.last_id
        return record.seq == 0 or record.seq > body.last_seq
