"""The way to another node: where it says that it is, and else through a relay that both know.

A node's own addresses come first, since nobody else has to carry what travels there. But some lead
nowhere, and say so only after seconds; so relays are asked before that is over.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence

from bazaar_host.links import Link, Transport
from bazaar_node.network.relayed.exchange import LinkExchange
from bazaar_protocol import limits
from bazaar_protocol.errors import RemoteError, Unreachable
from bazaar_protocol.frames import NODE_PROTOCOL
from bazaar_protocol.identity import AgentId

Exchanges = Callable[[], Iterable[tuple[str, LinkExchange]]]
"""Returns the addresses of the relays that can be asked now, with their links."""


class Reaching:
    """A ``Transport`` whose dials go through relays where nothing else helps.

    Args:
        transport: Dials directly.
        exchanges: The relays.

    """

    def __init__(self, transport: Transport, exchanges: Exchanges) -> None:
        self._transport = transport
        self._exchanges = exchanges

    @property
    def addresses(self) -> list[str]:
        """Where we listen ourselves."""
        return self._transport.addresses

    @addresses.setter
    def addresses(self, addresses: list[str]) -> None:
        self._transport.addresses = addresses

    async def close(self) -> None:
        """End every link that was dialed directly, and stop listening."""
        await self._transport.close()

    async def dial(self, peer: AgentId | None, addresses: Sequence[str], protocol: str) -> Link:
        """Open a link to ``peer`` at one of ``addresses``, or through a relay.

        Raises:
            Unreachable: Neither works; the text says why.

        """
        direct = self._transport.dial(peer, addresses, protocol)
        if peer is None or protocol != NODE_PROTOCOL:
            return await direct
        return await _first(direct, self._relayed(peer), head_start_s=limits.RELAYED_HEAD_START_S)

    async def _relayed(self, peer: AgentId) -> Link:
        failures: list[str] = []
        for address, exchange in self._exchanges():
            try:
                return await exchange.open(peer)
            except RemoteError as error:
                failures.append(f"through {address}: {error}")
        raise Unreachable("; ".join(failures) or "no relay that we are connected to carries links")


async def _first(
    better: Coroutine[None, None, Link], other: Coroutine[None, None, Link], *, head_start_s: float
) -> Link:
    """Return the link that comes up first, when ``better`` has had its head start."""
    tasks = [asyncio.create_task(better)]
    chosen: asyncio.Task[Link] | None = None
    try:
        await asyncio.wait(tasks, timeout=head_start_s)
        if not _is_up(tasks[0]):
            tasks.append(asyncio.create_task(other))
        while not all(task.done() for task in tasks) and not any(map(_is_up, tasks)):
            waiting = [task for task in tasks if not task.done()]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        chosen = next(filter(_is_up, tasks), None)
    finally:
        other.close()  # if it was not needed
        await _give_up([task for task in tasks if task is not chosen])
    if chosen is not None:
        return chosen.result()
    failures = [task.exception() for task in tasks]
    for failure in failures:
        if not isinstance(failure, RemoteError):
            assert failure is not None
            raise failure
    raise Unreachable("; ".join(map(str, failures)))


def _is_up(task: asyncio.Task[Link]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _give_up(tasks: Iterable[asyncio.Task[Link]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if _is_up(task):  # in the same moment as the one that was chosen
            task.result().close()
