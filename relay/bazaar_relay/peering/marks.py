"""Up to where each peer's store was read: a hint that outlasts the process.

A mark moves only after what it stands for is durable, so one that is lost or old costs some reading
and nothing else. Marks belong to the store beside which they are: with another one, or an older
copy of it, they mean nothing and are not used.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bazaar_host.logs import logger
from bazaar_protocol.identity import AgentId, to_peer_id


class Mark(msgspec.Struct, frozen=True):
    """How far a peer's store was read."""

    store: str
    """The name of the peer's store, hex."""
    cursor: int


class _Kept(msgspec.Struct, frozen=True):
    store: str
    """The name of our store, hex."""
    cursor: int
    """The newest cursor of our store when this was written."""
    marks: dict[str, Mark]


@dataclass
class Marks:
    """The marks of all peers.

    Args:
        path: Where they are kept; None to forget them with the process.

    """

    path: Path | None = None
    _marks: dict[str, Mark] = field(default_factory=dict)
    _is_changed: bool = False

    async def load(self, store: bytes, cursor: int) -> None:
        """Read what was kept for our ``store``, whose newest cursor is ``cursor``."""
        if self.path is None:
            return
        try:
            raw = await asyncio.to_thread(self.path.read_bytes)
            kept = msgspec.json.decode(raw, type=_Kept)
        except (OSError, msgspec.MsgspecError):
            return  # then everything is compared once
        if kept.store == store.hex() and kept.cursor <= cursor:
            self._marks = dict(kept.marks)

    def get(self, peer: AgentId, store: bytes) -> int | None:
        """Return up to where a peer's store was read; None if nothing of it was."""
        mark = self._marks.get(to_peer_id(peer))
        return None if mark is None or mark.store != store.hex() else mark.cursor

    def put(self, peer: AgentId, store: bytes, cursor: int) -> None:
        """Take note that all is durable here that the peer had up to ``cursor``."""
        self._marks[to_peer_id(peer)] = Mark(store.hex(), cursor)
        self._is_changed = True

    async def save(self, store: bytes, cursor: int) -> None:
        """Write them down if they have changed."""
        if self.path is None or not self._is_changed:
            return
        self._is_changed = False
        raw = msgspec.json.encode(_Kept(store.hex(), cursor, self._marks))
        try:
            await asyncio.to_thread(_write, self.path, raw)
        except OSError as error:
            logger("peers").warning("marks not kept", trouble=str(error))


def _write(path: Path, raw: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(raw)
    part.replace(path)
