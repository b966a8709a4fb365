"""A link between a process that runs our code and a network to which it tells something else.

What an adversary does on the wire is said by a ``Liar``: it sees every frame that its process sends
or gets, and says what takes its place. So whatever it leaves alone is done as the real code does.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bazaar_host.links import Link, OnLink, Transport
from bazaar_protocol.framing import Splitter, pack
from bazaar_protocol.identity import AgentId


class Liar:
    """Passes everything on as it is; its kinds override what they do differently."""

    def says(self, link: "LyingLink", body: bytes) -> Iterable[bytes]:
        """Return what is sent in the place of a frame."""
        del link
        return (body,)

    def hears(self, link: "LyingLink", body: bytes) -> Iterable[bytes]:
        """Return what the process gets in the place of a frame that has arrived."""
        del link
        return (body,)


class LyingLink:
    """A ``Link`` with a liar at our end.

    Args:
        inner: The link as it is.
        liar: Says what is passed on.

    """

    def __init__(self, inner: Link, liar: Liar) -> None:
        self.peer: AgentId = inner.peer
        self.address = inner.address
        self.protocol = inner.protocol
        self.inbound = inner.inbound
        self._inner = inner
        self._liar = liar

    async def send(self, frames: bytes) -> None:
        """Queue whole frames, or what takes their place."""
        said = self._said(frames)
        if said:
            await self._inner.send(said)

    def offer(self, frames: bytes) -> bool:
        """Queue frames like ``send``, but never wait."""
        said = self._said(frames)
        return self._inner.offer(said) if said else True

    async def receive(self) -> list[bytes]:
        """Wait for frames, or what takes their place."""
        while True:
            bodies = await self._inner.receive()
            heard = [one for body in bodies for one in self._liar.hears(self, body)]
            if heard:
                return heard

    def close(self) -> None:
        """End the link."""
        self._inner.close()

    async def wait_closed(self) -> None:
        """Wait until the link has ended."""
        await self._inner.wait_closed()

    def _said(self, frames: bytes) -> bytes:
        bodies = Splitter().feed(frames)
        return b"".join(pack(one) for body in bodies for one in self._liar.says(self, body))


class _LyingTransport:
    """Dials links with a liar at our end."""

    def __init__(self, inner: Transport, liar: Liar) -> None:
        self.addresses = inner.addresses
        self._inner = inner
        self._liar = liar

    async def dial(self, peer: AgentId | None, addresses: Sequence[str], protocol: str) -> Link:
        return LyingLink(await self._inner.dial(peer, addresses, protocol), self._liar)

    async def close(self) -> None:
        await self._inner.close()


def to_liar(liar: Liar, on_link: OnLink) -> OnLink:
    """Return what is called for each inbound link, so that it goes through ``liar``."""
    return lambda link: on_link(LyingLink(link, liar))


@asynccontextmanager
async def lying(
    liar: Liar, transport: AbstractAsyncContextManager[Transport]
) -> AsyncGenerator[Transport]:
    """Open ``transport`` with ``liar`` at our end of whatever it dials."""
    async with transport as inner:
        yield _LyingTransport(inner, liar)
