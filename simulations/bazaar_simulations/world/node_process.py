"""A node in a world: the real daemon, on a disk and links in memory."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Final

from bazaar_host import key_files
from bazaar_host.links import Transport
from bazaar_host.settings import Seconds
from bazaar_host.surroundings import Surroundings
from bazaar_node.daemon import open_node
from bazaar_node.desk import Desk
from bazaar_node.recovering import recover
from bazaar_node.service import PostRequest
from bazaar_node.settings import NodeSettings, OfferSettings
from bazaar_node.storage.store import BACKUP_MARK
from bazaar_node.work.workshop import Handler, Task
from bazaar_protocol.errors import BazaarError, NotFound, OldBackup, RemoteError
from bazaar_protocol.identity import Keypair, to_did
from bazaar_simulations.world.owner import judge_if_possible
from bazaar_simulations.world.processes import Ground, Process

CAPABILITY: Final = "digest.sha256"
"""What every node of a world offers: the SHA-256 of the input, as text."""
_RECOVERY_RETRY_S: Final = 5.0
_ETA_S: Final = 30.0
_REGRET_S: Final = 4.0


class WorkFailure(Exception):
    """The work went wrong, as work does."""


class NodeProcess(Process):
    """A node."""

    database_name = NodeSettings(home=Path()).database_path.name

    def __init__(self, ground: Ground, name: str, relays: Sequence[str], *, price: int) -> None:
        super().__init__(ground, name)
        self.desk: Desk | None = None
        """What answers for it, while it runs."""
        self.is_recovering = False
        """Whether it gets back what an old copy has lost."""
        self.posted: dict[bytes, float] = {}
        """The tasks that it said it has posted, with when it said so."""
        self.wanted: dict[bytes, str] = {}
        """Of each of them, the hash of the right result, in hex."""
        self._posting: set[asyncio.Task[None]] = set()
        self.settings = NodeSettings(
            name=name,
            relays=list(relays),
            listen=[self.place],
            home=self.home,
            offers=[OfferSettings(capability=f"{CAPABILITY}@1", price=price, eta=Seconds(_ETA_S))],
        )
        key_files.write(self.settings.keys.key_path, self.keys, None)
        recovery = self.chance.under("recovery").keys().agent
        self.settings.keys.recovery_public_path.write_text(to_did(recovery), encoding="ascii")

    @property
    def is_settled(self) -> bool:
        """Whether it has started."""
        return self.desk is not None

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What does its work."""
        return {f"{CAPABILITY}@1": self._work}

    async def serve(self, surroundings: Surroundings, stopping: asyncio.Event) -> None:
        """Run until ``stopping`` is set; catch up first when the store is an old copy."""
        while not stopping.is_set():
            try:
                async with open_node(
                    self.settings,
                    self.handlers,
                    open_transport=self.open_transport,
                    surroundings=surroundings,
                ) as self.desk:
                    await stopping.wait()
            except OldBackup:
                self.desk = None
                self.is_recovering = True
                await self._recover(surroundings)
            finally:
                self.is_recovering = False
                self.desk = None

    def crash(self, *, silently: bool) -> None:
        """Kill it."""
        super().crash(silently=silently)
        self.desk = None
        for task in self._posting:
            task.cancel()

    def post(self, request: PostRequest) -> None:
        """Have it post a task, if it can."""
        if self.desk is not None:
            task = asyncio.get_running_loop().create_task(self._post(self.desk, request))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    def restore(self, copy: bytes, *, copied_s: float, is_marked: bool) -> None:
        """Put an old copy in the place of its store; it must not run.

        One that ``bazaar backup`` has made is marked as such. Of another, only the relays can tell
        that it is old.
        """
        self.note(f"gets back its store of {copied_s:.6f}" + (" by a backup" * is_marked))
        self.disk.restore(self.database, copy)
        db = self.disk.look(self.database)
        if is_marked and db is not None:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (BACKUP_MARK, b"0"))
        self.posted = {task: at_s for task, at_s in self.posted.items() if at_s <= copied_s}

    async def _post(self, desk: Desk, request: PostRequest) -> None:
        try:
            view = await desk.post(request)
        except Exception as error:  # noqa: BLE001 (its owner is told, and the world goes on)
            self.note(f"cannot post: {type(error).__name__}")
        else:
            self.posted[bytes.fromhex(view.id)] = self.ground.true_s()
            self.wanted[bytes.fromhex(view.id)] = result_of(request.input)
            self.note(f"has posted {view.id[:8]} {view.mode}")
            if request.accept == "human":
                said = await judge_if_possible(desk, view.id, result_of(request.input))
                self.note(f"{said} {view.id[:8]}")
            elif self.chance.happens(self.ground.network.weather.cancelled):
                await asyncio.sleep(self.chance.wait_s(_REGRET_S))
                await self._cancel(desk, view.id)

    async def _cancel(self, desk: Desk, task: str) -> None:
        try:
            await desk.cancel(task, reason="nobody needs it any more")
        except BazaarError as error:
            self.note(f"cannot cancel {task[:8]}: {type(error).__name__}")
        else:
            self.note(f"has cancelled {task[:8]}")

    async def _work(self, task: Task) -> str:
        chance = self.chance
        await asyncio.sleep(chance.wait_s(_ETA_S / 4))
        if chance.happens(self.ground.network.weather.failing_work):
            raise WorkFailure("it went wrong")
        return sha256(task.input).hexdigest()

    async def _recover(self, surroundings: Surroundings) -> None:
        while True:
            self.note("has an old copy, and asks what it lost")
            try:
                done = await recover(self.settings, self._open_transport, surroundings)
            except (NotFound, RemoteError) as error:
                self.note(f"cannot recover: {type(error).__name__}")
                await asyncio.sleep(_RECOVERY_RETRY_S)
            else:
                self.note(f"recovered entries={done.entries} reset={done.reset_seq}")
                return

    def _open_transport(self, keys: Keypair) -> AbstractAsyncContextManager[Transport]:
        return self.open_transport(keys, (), (), lambda link: link.close())


def result_of(input_: bytes) -> str:
    """Return the hash that the right result for this input has, in hex."""
    return sha256(sha256(input_).hexdigest().encode()).hexdigest()
