"""A node inside a Python program: for agents that are written in Python.

    node = Node("~/my-agent", relays=["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…"])

    @node.offer("text.count", price=5)
    async def count(task: Task) -> object:
        return {"words": len(task.input.split())}

    node.run()

The home is made if there is none. What the function gets was written by a stranger; what it
returns is checked against the task's output schema and delivered under the lease.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bazaar_host.logs import set_up
from bazaar_host.settings import Seconds
from bazaar_host.signals import stop_on_signals
from bazaar_node import homes, policy_settings, settings
from bazaar_node.daemon import open_node
from bazaar_node.desk import Desk
from bazaar_node.market.policy import Policies
from bazaar_node.service import OfferRequest, PostRequest, TaskDetail
from bazaar_node.settings import NodeSettings, OfferSettings
from bazaar_node.work.workshop import Handler, Task
from bazaar_protocol.errors import ConfigError, Refused
from bazaar_protocol.task import TERMINAL, State


class Node:
    """An agent's node in this process.

    Args:
        home: The folder of its keys, database and results.
        relays: Addresses to trade through, instead of those in the home's settings.
        name: A petname to show.
        slots: How many tasks to do at once.
        passphrase_file: Where the passphrase of a locked key is.
        policies: Whom to deal with, instead of what ``[policy]`` in the home's settings says.

    """

    def __init__(
        self, home: str | Path, *, relays: Sequence[str] = (), name: str | None = None,
        slots: int | None = None, passphrase_file: Path | None = None,
        policies: Policies | None = None,
    ) -> None:  # fmt: skip
        self.home = Path(home).expanduser()
        self._relays = list(relays)
        self._name = name
        self._slots = slots
        self._passphrase_file = passphrase_file
        self._policies = policies
        self._offers: list[OfferSettings] = []
        self._handlers: dict[str, Handler] = {}

    @property
    def offers(self) -> Sequence[OfferSettings]:
        """What it offers by ``offer``."""
        return tuple(self._offers)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What does that work, by capability with its version."""
        return self._handlers

    def offer(
        self, capability: str, *, price: int = 0, eta_s: float = 60.0, confidence: float = 0.9,
        description: str = "", input_schema: str = "", output_schema: str = "",
        media_type: str = "application/json", tags: Sequence[str] = (),
    ) -> Callable[[Handler], Handler]:  # fmt: skip
        """Offer ``capability``, done by the decorated ``async`` function.

        Args:
            capability: Dotted name, with ``@version`` (1 when left out).
            price: What a task costs, in the smallest unit.
            eta_s: The time within which nine of ten tasks are done, in seconds.
            confidence: The probability of success, 0 to 1.
            description: For people who look for it.
            input_schema: JSON Schema that inputs have to meet.
            output_schema: JSON Schema that results will meet.
            media_type: Of the results.
            tags: Words to be found by.

        Raises:
            ConfigError: It is offered already, or a value makes no sense.

        """
        name, _, version = capability.partition("@")
        full = f"{name}@{version or 1}"
        if full in self._handlers:
            raise ConfigError(f"{full} is offered twice")
        request = OfferSettings(
            capability=full,
            description=description,
            price=price,
            eta=Seconds(eta_s),
            confidence=round(confidence * 10_000),
            input_schema=input_schema,
            output_schema=output_schema,
            media_type=media_type,
            tags=tuple(tags),
        )

        def register(handler: Handler) -> Handler:
            self._offers.append(request)
            self._handlers[full] = handler
            return handler

        return register

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["OpenNode"]:
        """Run the node inside this block.

        Raises:
            LocalError: It cannot run.

        """
        if not homes.exists(self.home):
            homes.create(self.home, name=self._name or "", relays=self._relays, passphrase=None)
        async with open_node(self._settings(), self._handlers, policies=self._policies) as desk:
            yield OpenNode(desk)

    def run(self) -> None:
        """Run the node until Ctrl-C or SIGTERM.

        Raises:
            LocalError: It cannot run, or cannot go on.

        """
        asyncio.run(self._run())

    async def _run(self) -> None:
        values = self._settings()
        set_up(values.log_level, values.log_format)
        stop = stop_on_signals()
        async with self.open():
            await stop.wait()

    def _settings(self) -> NodeSettings:
        flags: dict[str, object] = {
            "relays": self._relays or None,
            "name": self._name,
            "slots": self._slots,
        }
        loaded = settings.load(self.home, flags=flags).values
        values = settings.at_home(
            loaded,
            self.home,
            passphrase_file=self._passphrase_file,
            policy=policy_settings.load(self.home).values,
        )
        return settings.with_offers(values, self._offers)


class OpenNode:
    """A node that runs: what a program asks of it. ``desk`` has everything else."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def ready(self) -> None:
        """Wait until a relay has confirmed that this store is no old copy."""
        await self.desk.ready()

    async def offer(self, request: OfferRequest) -> None:
        """Offer a capability from now on."""
        await self.desk.offer(request)

    async def post(self, request: PostRequest) -> str:
        """Post a task and return its id."""
        return (await self.desk.post(request)).id

    def watch(self, task: str) -> AsyncIterator[TaskDetail]:
        """Yield the task now and after each change, until it is over."""
        return self.desk.watch(task)

    async def result(self, task: str, *, timeout_s: float) -> bytes:
        """Wait until a task is accepted, and return its result.

        Raises:
            Refused: It ended in another way.
            TimeoutError: It is not over in time; it goes on.

        """
        async with asyncio.timeout(timeout_s):
            async for detail in self.desk.watch(task):
                if detail.task.state == State.ACCEPTED:
                    path = await self.desk.result(task)
                    return await asyncio.to_thread(path.read_bytes)
                if detail.task.state in TERMINAL:
                    raise Refused(detail.task.state, detail.task.why)
        raise AssertionError("a watched task is over at the end")


__all__ = ["Node", "OfferRequest", "OpenNode", "PostRequest", "Task"]
