"""How the processes of a relay wake each other: NOTIFY with each commit, and LISTEN."""

import asyncio
from collections.abc import Callable
from typing import Final

from bazaar_protocol.errors import StorageError
from bazaar_relay.storage.postgres_server import Server

_CHANNEL: Final = "bazaar_relay"
_RETRY_S: Final = 1.0


class Listener:
    """Listens on a connection of its own, and makes a new one when that breaks.

    What is missed in between is found by whoever looks now and then: this only saves the wait.
    """

    def __init__(self, server: Server, process: bytes) -> None:
        self.on_change: Callable[[], None] = _do_nothing
        """Called when another process has committed, or may have."""
        self._server = server
        self._process = process.hex()

    @property
    def news(self) -> tuple[str, str]:
        """The channel, and what to say there with a commit."""
        return _CHANNEL, self._process

    async def run(self) -> None:
        """Listen until it is cancelled."""
        while True:
            try:
                await self._listen()
            except StorageError:
                self.on_change()  # whoever looks now sees that the server is gone
            await asyncio.sleep(_RETRY_S)

    async def _listen(self) -> None:
        db = await self._server.connect()
        try:
            ended = asyncio.Event()
            db.add_termination_listener(lambda _: ended.set())
            with self._server.translated():
                await db.add_listener(_CHANNEL, self._heard)
            self.on_change()
            await ended.wait()
        finally:
            db.terminate()
        self.on_change()

    def _heard(self, *said: object) -> None:
        if said[-1] != self._process:
            self.on_change()


def _do_nothing() -> None:
    """Nobody wants to know yet."""
