"""Nodes and relays that run our code and tell the wire something else."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from bazaar_host.links import OnLink, Transport
from bazaar_protocol import frames
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.frames import encode_frame
from bazaar_protocol.identity import Keypair
from bazaar_simulations.world.adversaries.adversary import Adversary
from bazaar_simulations.world.lying import Liar, LyingLink, lying, to_liar
from bazaar_simulations.world.node_process import NodeProcess
from bazaar_simulations.world.relay_process import RelayProcess


class LyingNode(Liar, Adversary, NodeProcess):
    """A node whose frames are not what it would say."""

    @asynccontextmanager
    async def open_transport(
        self, keys: Keypair, listen: Sequence[str], protocols: Sequence[str], on_link: OnLink
    ) -> AsyncGenerator[Transport]:
        """Open what carries its links, with a liar at each."""
        inner = super().open_transport(keys, listen, protocols, to_liar(self, on_link))
        async with lying(self, inner) as transport:
            yield transport


class LyingRelay(Liar, Adversary, RelayProcess):
    """A relay whose frames are not what it would say."""

    @asynccontextmanager
    async def open_transport(
        self, keys: Keypair, listen: Sequence[str], protocols: Sequence[str], on_link: OnLink
    ) -> AsyncGenerator[Transport]:
        """Open what carries its links, with a liar at each."""
        inner = super().open_transport(keys, listen, protocols, to_liar(self, on_link))
        async with inner as transport:
            yield transport


def to_relay(body: bytes) -> frames.ToRelay | None:
    """Return what a node says to a relay; None for what is something else."""
    try:
        return frames.decode_to_relay(body)
    except MalformedRecord:
        return None


def from_relay(body: bytes) -> frames.FromRelay | None:
    """Return what a relay says to a node; None for what is something else."""
    try:
        return frames.decode_from_relay(body)
    except MalformedRecord:
        return None


class Edition:
    """Replaces records in what is published, or leaves them out, and answers for those.

    Args:
        edit: Returns what takes the place of a record on a link, or None for nothing.

    """

    def __init__(self, edit: Callable[[LyingLink, bytes], bytes | None]) -> None:
        self._edit = edit
        self._left_out: dict[LyingLink, dict[int, list[int]]] = {}

    def publish(self, link: LyingLink, body: bytes) -> bytes:
        """Return what takes the place of a frame on its way to the relay."""
        frame = to_relay(body)
        if not isinstance(frame, frames.Publish):
            return body
        edited = [self._edit(link, raw) for raw in frame.records]
        left_out = [place for place, raw in enumerate(edited) if raw is None]
        if left_out:
            self._left_out.setdefault(link, {})[frame.request] = left_out
        kept = tuple(raw for raw in edited if raw is not None)
        return encode_frame(frames.Publish(frame.request, kept))

    def published(self, link: LyingLink, body: bytes) -> bytes:
        """Return what takes the place of a frame on its way back: all were accepted."""
        frame = from_relay(body)
        if not isinstance(frame, frames.Published):
            return body
        statuses = list(frame.statuses)
        for place in self._left_out.get(link, {}).pop(frame.request, ()):
            statuses.insert(place, "accepted")
        return encode_frame(frames.Published(frame.request, tuple(statuses)))
