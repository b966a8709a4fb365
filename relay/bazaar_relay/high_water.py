"""How far a relay's own log has come, noted beside its store: so an older store is noticed.

A database that was brought back from a backup looks like any other. The note is a second old at
most when the relay is killed, and backups are older than that.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from bazaar_host.logs import logger
from bazaar_protocol.errors import ConfigError, RestoredStore, StorageError
from bazaar_protocol.identity import AgentId, to_did
from bazaar_relay.storage.store import Store

_INTERVAL_S: Final = 1.0


class _Note(msgspec.Struct, frozen=True):
    relay: str
    seq: int


@asynccontextmanager
async def high_water(path: Path, relay: AgentId, store: Store) -> AsyncGenerator[None]:
    """Refuse a store in which the log of ``relay`` ends before the note at ``path``; then keep it.

    Raises:
        RestoredStore: The store is older than the note.
        ConfigError: The note cannot be read.
        StorageError: The store cannot be read.

    """
    note = _HighWater(path, relay, store)
    await note.check()
    following = asyncio.create_task(note.follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.wait({following})
        await note.bring_up_to_date()


class _HighWater:
    def __init__(self, path: Path, relay: AgentId, store: Store) -> None:
        self._path = path
        self._relay = relay
        self._store = store
        self._seq = self._read()

    async def check(self) -> None:
        seq = await self._own_seq()
        if seq < self._seq:
            raise RestoredStore(
                f"this relay has signed {self._seq} entries of its log, and the store knows {seq}: "
                "it is an old backup. To go on with it would fork the log, which convicts the "
                "relay; let a relay with a new key have it: bazaar relay restore --help"
            )

    async def follow(self) -> None:
        while True:
            await self.bring_up_to_date()
            await asyncio.sleep(_INTERVAL_S)

    async def bring_up_to_date(self) -> None:
        try:
            seq = await self._own_seq()
            if seq > self._seq:
                self._write(seq)
        except StorageError as error:
            logger("relay").warning("not noted how far the log has come", reason=str(error))

    async def _own_seq(self) -> int:
        head = (await self._store.heads([self._relay])).get(self._relay)
        return 0 if head is None else head.seq

    def _read(self) -> int:
        try:
            note = msgspec.json.decode(self._path.read_bytes(), type=_Note)
        except FileNotFoundError:
            return 0
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{self._path}: {error}") from error
        return note.seq if note.relay == to_did(self._relay) else 0

    def _write(self, seq: int) -> None:
        part = self._path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(_Note(to_did(self._relay), seq)))
            part.replace(self._path)
        except OSError as error:  # of no more weight than that it is noted later
            raise StorageError(f"{self._path}: {error.strerror or error}") from error
        self._seq = seq
