"""A node in memory behind its real API, in a thread with an event loop of its own.

The client under test blocks, as it does in a command; so the server has to run somewhere else.
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.memory_node import MemoryNode

from bazaar_node.api import api_socket
from bazaar_node.api.api import serve_api
from bazaar_node.api.client import Client

T = TypeVar("T")

WAIT_S = 10.0


class Served:
    """The node, its home, and a client of it."""

    def __init__(self, home: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.home = home
        self.node = MemoryNode(home)
        self.client = Client(home)
        self.begun: list[Future[None]] = []
        self._loop = loop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out ``work`` in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin ``work`` in the server's loop; whoever serves the node sees it end well."""
        self.begun.append(asyncio.run_coroutine_threadsafe(work, self._loop))

    def raw(self, request: bytes) -> bytes:
        """Send bytes and return every byte of the answer."""
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(WAIT_S)
            plain.connect(str(self.home / api_socket.NAME))
            plain.sendall(request)
            return b"".join(iter(lambda: plain.recv(65536), b""))


@contextmanager
def served(home: Path, *, body_timeout_s: float = 10.0) -> Generator[Served]:
    """Serve a node in memory at ``home`` inside this block."""
    running: list[Served] = []
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    begun = threading.Event()

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        running.append(Served(home, loop))
        stops.append((loop, stop))
        api = asyncio.create_task(
            serve_api(running[0].node, home / api_socket.NAME, stop, body_timeout_s=body_timeout_s)
        )
        await answering(home / api_socket.NAME, api)
        begun.set()
        await api

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert begun.wait(WAIT_S)
        yield running[0]
        for work in running[0].begun:
            work.result(WAIT_S)
    finally:
        for loop, stop in stops:
            loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT_S)
        assert not thread.is_alive()


async def answering(path: Path, api: "asyncio.Task[None]") -> None:
    """Return once somebody answers at ``path``, or raise what ``api`` ended with."""
    while True:
        if api.done():
            await api
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(0)
            continue
        writer.close()
        await writer.wait_closed()
        return
