"""What the relay has taken from others and not given its receipt for, and the receipts it signs.

A receipt is an ``intake`` in the relay's own log: the root of a Merkle tree over the ids of what it
accepted. It covers only what is durable, and whatever a crash leaves uncovered is under the first
receipt after the restart. The tree is made of small ones while records come in, so signing costs
no more after four thousand records than after one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bazaar_protocol import limits, merkle
from bazaar_protocol.evidence_kinds import Intake
from bazaar_protocol.records import RecordId
from bazaar_relay.machine.own_log import append
from bazaar_relay.machine.state import RelayState
from bazaar_relay.machine.timers import Timer
from bazaar_relay.storage.store import ID_BYTES, Receipt

_SMALL: Final = 64
"""Leaves of a small tree: a power of two, near the root of ``INTAKE_RECORDS_MAX``."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a record stands under a receipt, and the hashes from there to its root."""

    index: int
    hashes: tuple[bytes, ...]


def path_of(receipt: Receipt, record: RecordId) -> Path | None:
    """Return how ``record`` is under ``receipt``; None if it is not."""
    index = receipt.index_of(record)
    if index is None:
        return None
    tree, place = divmod(index, _SMALL)
    leaves = _split(receipt.ids[tree * _SMALL * ID_BYTES : (tree + 1) * _SMALL * ID_BYTES])
    within = merkle.inclusion_path(leaves, place)
    return Path(index, within + merkle.joined_path(_split(receipt.roots), tree))


class Receipts:
    """The records of others under no receipt yet, oldest first, and when they get one."""

    def __init__(self, state: RelayState) -> None:
        self._state = state
        self._cursors: list[int] = []
        self._ids: list[RecordId] = []
        self._roots: list[bytes] = []
        """Of the small trees that are full."""
        self._is_due = False

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, cursor: int, record: RecordId, *, is_due: bool = True) -> None:
        """Take note of a record that is durable now, beyond all that were before.

        One that is not due waits for another that is: else two relays that are peers would give
        receipts for each other's receipts for ever.
        """
        self._is_due |= is_due
        self._cursors.append(cursor)
        self._ids.append(record)
        if len(self._ids) % _SMALL == 0:
            self._roots.append(merkle.tree_hash(self._ids[-_SMALL:]))

    def sign_full(self, now_ms: int) -> None:
        """Sign as many receipts as are full, and see to it that the rest gets one in time."""
        is_ours = self._state.turns.is_ours
        while is_ours and len(self._ids) >= limits.INTAKE_RECORDS_MAX:
            self._sign(now_ms)
        timer = Timer("intake", self._state.me)
        if len(self._ids) >= limits.INTAKE_RECORDS_MAX:
            self._state.timers.set(timer, now_ms)
        elif self._ids and self._is_due and not self._state.timers.has(timer):
            self._state.timers.set(timer, now_ms + limits.INTAKE_AFTER_MS)

    def cover(self, upto: int) -> None:
        """Forget what another process has signed for: all up to and with this cursor."""
        if self._cursors and self._cursors[0] <= upto:
            rest = zip(self._cursors, self._ids, strict=True)
            self._hold([(cursor, record) for cursor, record in rest if cursor > upto])
        if not self._ids:
            self._state.timers.cancel(Timer("intake", self._state.me))

    def sign_rest(self, now_ms: int) -> None:
        """Sign receipts for all there is, if there is anything."""
        while self._ids:
            self._sign(now_ms)

    def _sign(self, now_ms: int) -> None:
        count = min(len(self._ids), limits.INTAKE_RECORDS_MAX)
        cursors, self._cursors = self._cursors[:count], self._cursors[count:]
        ids, self._ids = self._ids[:count], self._ids[count:]
        self._is_due &= bool(self._ids)
        trees = count // _SMALL
        roots, self._roots = self._roots[:trees], self._roots[trees:]
        if count % _SMALL:  # then nothing is left that would follow it
            roots.append(merkle.tree_hash(ids[trees * _SMALL :]))
        state = self._state
        state.timers.cancel(Timer("intake", state.me))
        state.group.undo.append(partial(self._put_back, cursors, ids, now_ms))
        signed = append(state, Intake(merkle.join(roots), count, cursors[0]), (), now_ms)
        expires_ms = now_ms + limits.RECORD_RETENTION_MS
        state.group.receipts.append(
            Receipt(signed.id, cursors[0], cursors[-1], b"".join(ids), b"".join(roots), expires_ms)
        )

    def _put_back(self, cursors: Sequence[int], ids: Sequence[RecordId], now_ms: int) -> None:
        later = list(zip(self._cursors, self._ids, strict=True))
        self._hold([*zip(cursors, ids, strict=True), *later])
        # Not at once, since the store may need a moment.
        self._state.timers.set(Timer("intake", self._state.me), now_ms + limits.WAKE_MS)

    def _hold(self, records: Sequence[tuple[int, RecordId]]) -> None:
        self._cursors, self._ids, self._roots = [], [], []
        for cursor, record in records:
            self.add(cursor, record)


def _split(joined: bytes) -> list[bytes]:
    return [joined[start : start + ID_BYTES] for start in range(0, len(joined), ID_BYTES)]
