"""Taking turns with the other processes of this relay, and hearing of what they commit.

One task does one thing after the other, so the machine hears of everything in the order of its
cursors. While the database cannot be reached nothing is decided and nothing accepted; what waits is
refused, and it is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bazaar_host.logs import logger
from bazaar_protocol.errors import StorageError
from bazaar_protocol.identity import AgentId
from bazaar_relay.machine.events import (
    Commit,
    CommitFailed,
    Committed,
    EndTurn,
    Event,
    Heard,
    ListeningElsewhere,
    Started,
    TurnBegun,
    TurnFailed,
    WantTurn,
)
from bazaar_relay.machine.machine import RelayMachine
from bazaar_relay.machine.shared_machine import SharedRelayMachine
from bazaar_relay.serving import reading
from bazaar_relay.storage.sharing import SharedStore
from bazaar_relay.storage.store import Batch, Store

_LOOK_S: Final = 2.0
"""How often to look at the store, whatever was heard or not."""
_RETRY_S: Final = 0.5


def machine_for(store: Store) -> type[RelayMachine]:
    """Return the class of machine for a relay that keeps its records in ``store``."""
    return SharedRelayMachine if isinstance(store, SharedStore) else RelayMachine


def share(
    store: Store,
    machine: RelayMachine,
    run: Callable[[Event], None],
    keep: Callable[[Batch], Awaitable[Committed | CommitFailed]],
) -> "Sharing | None":
    """Return what takes the turns of ``machine``, if its store is shared."""
    if isinstance(store, SharedStore) and isinstance(machine, SharedRelayMachine):
        return Sharing(store, machine, run, keep)
    return None


class Sharing:
    """The turns of one process.

    Args:
        store: What is shared.
        machine: What decides.
        run: Lets the machine handle an event, and carries out what it answers.
        keep: Commits.

    """

    def __init__(
        self,
        store: SharedStore,
        machine: SharedRelayMachine,
        run: Callable[[Event], None],
        keep: Callable[[Batch], Awaitable[Committed | CommitFailed]],
    ) -> None:
        self.is_reachable = True
        """Whether the store answered the last time."""
        self._store = store
        self._machine = machine
        self._run = run
        self._keep = keep
        self._wake = asyncio.Event()
        self._is_wanted = False
        self._end: asyncio.Future[Batch | None] | None = None
        self._looked_s = 0.0
        store.on_change(self._wake.set)

    async def start(self, relay: AgentId, now_ms: int) -> Started:
        """Read what a relay has to know before it can serve, all of it of one moment.

        Raises:
            StorageError: The store cannot be read.

        """
        async with self._store.snapshot() as store:
            return await reading.start(store, relay, now_ms)

    def carry_out(self, effect: WantTurn | EndTurn | Commit) -> None:
        """Begin a turn soon, or end it, with a commit or with nothing."""
        if isinstance(effect, WantTurn):
            self._is_wanted = True
            self._wake.set()
            return
        assert self._end is not None, "a turn has begun"
        self._end.set_result(effect.batch if isinstance(effect, Commit) else None)

    async def serve(self) -> None:
        """Take turns and hear of others until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass  # time to look
            self._wake.clear()
            try:
                now_s = asyncio.get_running_loop().time()
                if not self._is_wanted or now_s - self._looked_s >= _LOOK_S:
                    await self._catch_up(now_s)
                if self._is_wanted:  # which brings the news with it
                    await self._take_turn()
            except StorageError as error:
                self._lost(str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                self._found()

    async def _catch_up(self, now_s: float) -> None:
        """Hear of what others have committed, while they go on."""
        is_whole = False
        while not is_whole:
            news = await self._store.news()
            is_whole = news.is_whole
            self._run(Heard(news))
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            others = await self._store.tell_listening(self._machine.listening)
            self._run(ListeningElsewhere(others))

    async def _take_turn(self) -> None:
        self._is_wanted = False
        try:
            news = await self._store.begin_turn()
        except StorageError:
            self._is_wanted = True  # the machine waits to hear of it
            raise
        self._end = asyncio.get_running_loop().create_future()
        self._run(TurnBegun(news))
        batch, self._end = await self._end, None
        if batch is None:
            await self._store.end_turn()
            return
        outcome = await self._keep(batch)
        self._run(outcome)
        if isinstance(outcome, CommitFailed):
            raise StorageError(outcome.reason)

    def _lost(self, reason: str) -> None:
        if self.is_reachable:
            logger("relay").error("the store is lost; nothing is accepted", reason=reason)
        self.is_reachable = False
        if self._is_wanted:
            self._is_wanted = False
            self._run(TurnFailed(reason))

    def _found(self) -> None:
        if not self.is_reachable:
            logger("relay").info("the store is back")
        self.is_reachable = True
