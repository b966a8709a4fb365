"""A node whose work is to do nothing, in a process of its own."""

import asyncio
import sys
from pathlib import Path
from typing import Final

from bazaar_node import Node, Task

CAPABILITY: Final = "bench.noop"
SLOTS: Final = 64


async def work(home: Path, relay: str) -> None:
    """Work for others until the process is ended."""
    node = Node(home, relays=[relay], slots=SLOTS)

    @node.offer(CAPABILITY, price=1)
    async def noop(_task: Task) -> bytes:
        return b"{}"

    async with node.open() as running:
        await running.ready()
        print("READY", CAPABILITY, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
