"""Our own log as a relay has it, compared with the one in our store."""

from dataclasses import dataclass
from typing import TypeAlias

from bazaar_node.network.relay_session import RelaySession
from bazaar_node.storage.store import NodeStore
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.evidence_kinds import Reset
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, unseal


@dataclass(frozen=True, slots=True)
class Covered:
    """The relay knows our log up to ``seq``, and nothing else."""

    seq: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """The relay knows a later entry than our store: this is an old copy."""

    newest: Record


@dataclass(frozen=True, slots=True)
class Parted:
    """Both logs are the same up to one entry, and then they differ."""

    ours: Record
    theirs: Record
    newest: Record
    """The newest that the relay has."""

    @property
    def is_lost(self) -> bool:
        """Whether the relay has what we lost, and we were reset since.

        It can take nothing of what we have signed after that, and nobody is to blame.
        """
        return isinstance(self.ours.body, Reset)

    @property
    def is_overtaken(self) -> bool:
        """Whether our store is the lost one: another copy was reset and carries on."""
        return isinstance(self.theirs.body, Reset)


Comparison: TypeAlias = Covered | Ahead | Parted


async def compare(session: RelaySession, store: NodeStore, agent: AgentId) -> Comparison:
    """Ask a relay for our newest entry, and find out how its log of ours relates to our store's.

    Raises:
        RemoteError: It does not answer, or not with entries of ours.

    """
    raw = await session.head(agent)
    if raw is None:
        return Covered(0)
    newest = unseal(raw)
    if newest.author != agent or not newest.seq:
        raise MalformedRecord("asked for the head of our log, the relay sent none of it")
    head = await store.head()
    if newest.seq <= head.seq:
        if (await _ours(store, newest.seq)).id == newest.id:
            return Covered(newest.seq)
    elif not head.seq or (await entry(session, agent, head.seq)).id == head.id:
        return Ahead(newest)
    same, differs = 0, min(newest.seq, head.seq)
    while differs - same > 1:  # where two chains agree, they agree on all before
        middle = (same + differs) // 2
        theirs = await entry(session, agent, middle)
        if (await _ours(store, middle)).id == theirs.id:
            same = middle
        else:
            differs = middle
    theirs = newest if differs == newest.seq else await entry(session, agent, differs)
    return Parted(await _ours(store, differs), theirs, newest)


async def entry(session: RelaySession, agent: AgentId, seq: int) -> Record:
    """Return one entry of an agent's log as a relay has it.

    Raises:
        RemoteError: It does not answer, or not with that entry.

    """
    for raw in await session.log(agent, seq, seq):
        record = unseal(raw)
        if (record.author, record.seq) == (agent, seq):
            return record
    raise MalformedRecord(f"the relay has a later entry of a log, and not entry {seq}")


async def _ours(store: NodeStore, seq: int) -> Record:
    (raw,) = await store.log(seq, 1)
    return unseal(raw)
