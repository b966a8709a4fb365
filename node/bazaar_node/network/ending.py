"""What our store and the relays know of an identity that is to be ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bazaar_node.network.own_log import Parted, compare, entry
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.storage.store import NodeStore
from bazaar_protocol.errors import LogForked, NotFound, OldBackup, RemoteError
from bazaar_protocol.identity import AgentId, to_did
from bazaar_protocol.kinds import Genesis
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, unseal

SHOWN_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Ending:
    """How an identity ends."""

    genesis: Record
    last: Record
    """The last honest entry."""
    cut: tuple[Record, ...]
    """Entries beyond it that some relay knows; the first ones, if there are many."""


class Inquiry:
    """Finds out where a log has to end.

    Args:
        old: Whose log.
        store: Its owner's store; none if it was lost as well.
        sessions: Relays to ask.

    """

    def __init__(
        self, old: AgentId, store: NodeStore | None, sessions: Sequence[RelaySession]
    ) -> None:
        self._old = old
        self._store = store
        self._sessions = sessions

    async def ending(self, last_seq: int | None) -> Ending:
        """Return how the identity ends: at ``last_seq``, if its owner says so.

        Else it is the newest entry of the store, since whatever the relays know beyond that was
        not signed by it; without a store, it is the newest entry that the relays know.

        Raises:
            NotFound: Nobody has the log, or not that entry of it.
            OldBackup: The store is one, so its end is not where the honest entries end.
            LogForked: The relays contradict each other, and no store tells who is right.

        """
        if last_seq is None:
            last_seq = await self._guess()
        if last_seq < 1:
            raise LogForked("not even the beginning of this log is sure: a log has an entry 1")
        genesis = await self._entry(1)
        if not isinstance(genesis.body, Genesis):
            raise NotFound("the log does not begin with a genesis")
        return Ending(genesis, await self._entry(last_seq), await self._beyond(last_seq))

    async def _guess(self) -> int:
        if self._store is not None:
            if await self._store.backup_ms() is not None:
                raise OldBackup(
                    "this store is a backup, so only you know which of the later entries are "
                    "yours: look at them with --look, and say --last-seq N"
                )
            return await self._newest_honest(self._store)
        heads = [head for head in [await self._head(one) for one in self._sessions] if head]
        if not heads:
            raise NotFound(f"no relay knows a log of {to_did(self._old)}")
        return max(head.seq for head in heads)

    async def _newest_honest(self, store: NodeStore) -> int:
        """Return the end of our store's log, or where it and a relay's log part before that.

        An entry of ours for whose place a relay has another one must not count: the two would be
        a proof against whoever carries on.
        """
        last_seq = (await store.head()).seq
        for session in self._sessions:
            try:
                found = await compare(session, store, self._old)
            except RemoteError:
                continue
            if isinstance(found, Parted) and not found.is_lost:
                last_seq = min(last_seq, found.theirs.seq - 1)
        return last_seq

    async def _entry(self, seq: int) -> Record:
        """Return an entry as our store has it, or as all relays that have it do."""
        if self._store is not None:
            raws = await self._store.log(seq, 1)
            if raws and (own := unseal(raws[0])).seq == seq:
                return own
        found: Record | None = None
        for session in self._sessions:
            try:
                theirs = await entry(session, self._old, seq)
            except RemoteError:
                continue
            if found is not None and found.id != theirs.id:
                raise LogForked(
                    f"the relays know different entries {seq} of this log; say --last-seq N for "
                    "one before that"
                )
            found = theirs
        if found is None:
            raise NotFound(f"nobody knows an entry {seq} of the log of {to_did(self._old)}")
        return found

    async def _head(self, session: RelaySession) -> Head | None:
        try:
            raw = await session.head(self._old)
        except RemoteError:
            return None
        newest = unseal(raw) if raw is not None else None
        return Head.of(newest) if newest is not None and newest.author == self._old else None

    async def _beyond(self, last_seq: int) -> tuple[Record, ...]:
        beyond: dict[bytes, Record] = {}
        for session in self._sessions:
            try:
                raws = await session.log(self._old, last_seq + 1, last_seq + SHOWN_MAX)
                records = [unseal(raw) for raw in raws]
            except RemoteError:
                continue
            beyond.update((record.id, record) for record in records)
        return tuple(sorted(beyond.values(), key=lambda record: record.seq)[:SHOWN_MAX])
