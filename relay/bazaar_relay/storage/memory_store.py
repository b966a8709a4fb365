"""A store that forgets when its process ends: for simulations and tests."""

from collections.abc import Mapping, Sequence
from itertools import islice

from bazaar_protocol import limits
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import RecordId
from bazaar_relay.storage.index import Index
from bazaar_relay.storage.matching import against_key
from bazaar_relay.storage.planning import plan
from bazaar_relay.storage.scanning import scan
from bazaar_relay.storage.store import FORGOTTEN_MAX, Batch, Kept, NewLetter, Receipt, Stored


class MemoryStore:
    """A ``Store`` without a disk."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self._index = Index()
        self._cursor = 0
        self._letters: dict[int, NewLetter] = {}
        self._letters_of: dict[AgentId, dict[int, bytes]] = {}
        self._letter = 0
        self._receipts: dict[RecordId, Receipt] = {}
        self._covered = 0

    async def commit(self, batch: Batch) -> Kept:
        """Keep a batch."""
        planned = plan(self._index, batch.records, batch.routes, cursor=self._cursor)
        for entry in planned.entries:
            self._index.add(entry)
        self._cursor += len(planned.entries)
        letters = [self._keep_letter(letter) for letter in batch.letters]
        for agent, number in batch.collected:
            self._drop_letter(agent, number)
        for receipt in batch.receipts:
            self._receipts[receipt.intake] = receipt
            self._covered = receipt.last
        return Kept(planned.cursors, planned.routes, letters)

    async def cursor(self) -> int:
        """Return the newest cursor."""
        return self._cursor

    async def heads(self, authors: Sequence[AgentId]) -> Mapping[AgentId, Head]:
        """Return the newest log entry of each author that has one."""
        return self._index.heads_of(authors)

    async def heads_between(
        self, first: bytes, last: bytes, *, limit: int
    ) -> list[tuple[AgentId, Head]]:
        """Return up to ``limit`` authors from ``first`` to ``last``, in order, with their heads."""
        return self._index.heads_between(first, last)[:limit]

    async def get(self, record: RecordId) -> bytes | None:
        """Return one record."""
        cursor = self._index.cursor_of(record)
        return None if cursor is None else self._index.raw(cursor)

    async def audience(self, record: RecordId) -> list[AgentId]:
        """Return whom a record is addressed to."""
        return [agent for _, agent in self._index.audience(record)]

    async def scan(
        self, filters: Sequence[Filter], *, after: int, limit: int
    ) -> tuple[list[Stored], int]:
        """Return matches beyond ``after``, and how far the scan came."""
        return scan(self._index, filters, after=after, upto=self._cursor, limit=limit)

    async def log(self, author: AgentId, *, first: int, last: int, limit: int) -> list[bytes]:
        """Return consecutive log entries of ``author``."""
        seqs = range(max(1, first), min(last + 1, max(1, first) + limit))
        return list(self._index.log(author, seqs).values())

    async def task(self, task: RecordId, *, after: int, limit: int) -> list[Stored]:
        """Return the post and every record about it."""
        found, _ = await self.scan([Filter(tasks=(task,))], after=after, limit=limit)
        return found

    async def unexpired(self, kind: str, *, now_ms: int, after: int, limit: int) -> list[Stored]:
        """Return records of ``kind`` that have not expired."""
        return self._index.unexpired(kind, now_ms=now_ms, after=after, limit=limit)

    async def letters(self, agent: AgentId) -> list[tuple[int, bytes]]:
        """Return the letters that wait for ``agent``."""
        waiting = list(self._letters_of.get(agent, {}).items())
        return waiting[: limits.LETTERS_PER_AGENT_MAX]

    async def senders(self, agent: AgentId) -> list[AgentId | None]:
        """Return for each letter that waits for ``agent`` who handed it in."""
        return [self._letters[number].sender for number in self._letters_of.get(agent, {})]

    async def against(self, agents: Sequence[AgentId]) -> Mapping[AgentId, list[bytes]]:
        """Return what ended or convicted each agent."""
        return {agent: self._index.raws(against_key(agent)) for agent in agents}

    async def receipt(self, record: RecordId) -> Receipt | None:
        """Return the receipt that spans the place of ``record``."""
        cursor = self._index.cursor_of(record)
        if cursor is None:
            return None
        covering = (one for one in self._receipts.values() if one.first <= cursor <= one.last)
        return next(covering, None)

    async def covered(self) -> int:
        """Return the cursor up to which all that needs a receipt is under one."""
        return self._covered

    async def forget(self, *, now_ms: int) -> int:
        """Delete expired records, letters and receipts."""
        records = self._index.expired(now_ms)[:FORGOTTEN_MAX]
        self._index.remove(records)
        letters = [
            (letter.to, number)
            for number, letter in self._letters.items()
            if letter.expires_ms <= now_ms
        ][:FORGOTTEN_MAX]
        for agent, number in letters:
            self._drop_letter(agent, number)
        expired = (one for one in self._receipts.values() if one.expires_ms <= now_ms)
        receipts = list(islice(expired, FORGOTTEN_MAX))
        for receipt in receipts:
            del self._receipts[receipt.intake]
        return len(records) + len(letters) + len(receipts)

    async def close(self) -> None:
        """Do nothing: there is nothing to finish."""

    def _keep_letter(self, letter: NewLetter) -> int:
        self._letter += 1
        self._letters[self._letter] = letter
        self._letters_of.setdefault(letter.to, {})[self._letter] = letter.sealed
        return self._letter

    def _drop_letter(self, agent: AgentId, number: int) -> None:
        waiting = self._letters_of.get(agent, {})
        if waiting.pop(number, None) is None:
            return  # collected before, or another agent's
        del self._letters[number]
        if not waiting:
            del self._letters_of[agent]
