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
        relayed = [_through(relay, links, peer) for relay, links in self._exchanges()]
        return await _first([direct, *relayed], head_start_s=limits.RELAYED_HEAD_START_S)


async def _through(relay: str, links: LinkExchange, peer: AgentId) -> Link:
    try:
        return await links.open(peer)
    except RemoteError as error:
        raise Unreachable(f"through {relay}: {error}") from error


async def _first(ways: Sequence[Coroutine[None, None, Link]], *, head_start_s: float) -> Link:
    """Return the link that comes up first; each way has a head start before the next one.

    The next one is tried at once when one has failed.
    """
    waiting = list(ways)
    tasks: list[asyncio.Task[Link]] = []
    chosen: asyncio.Task[Link] | None = None
    try:
        while chosen is None and (waiting or not all(task.done() for task in tasks)):
            if waiting:
                tasks.append(asyncio.create_task(waiting.pop(0)))
            running = [task for task in tasks if not task.done()]
            timeout = head_start_s if waiting else None
            await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            chosen = next(filter(_is_up, tasks), None)
    finally:
        for way in waiting:  # it was not needed
            way.close()
        await _give_up([task for task in tasks if task is not chosen])
    if chosen is not None:
        return chosen.result()
    raise _summed_up([task.exception() for task in tasks])


def _summed_up(failures: Sequence[BaseException | None]) -> BaseException:
    for failure in failures:
        if not isinstance(failure, RemoteError):
            assert failure is not None
            return failure  # a fault of our own
    texts = list(map(str, failures))
    if len(texts) == 1:
        texts.append("no relay that we are connected to carries links")
    return Unreachable("; ".join(texts))


def _is_up(task: asyncio.Task[Link]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _give_up(tasks: Iterable[asyncio.Task[Link]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if _is_up(task):  # in the same moment as the one that was chosen
            task.result().close()
