"""What a node can be asked to say beyond its trades: for whom it answers, and its proof of work.

It belongs to ``service``.
"""

from typing import Protocol

import msgspec


class VouchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent to answer for, or no longer."""

    agent: str
    is_withdrawn: bool = False


class StampView(msgspec.Struct, frozen=True, kw_only=True):
    """A proof of work that was published."""

    bits: int
    day: int
    """Days since 1970."""


class Pledges(Protocol):
    """What its owner has a node say; each may raise a ``LocalError``, and nothing was said then."""

    async def vouch(self, request: VouchRequest) -> None:
        """Answer for an agent: it is no bare stranger any more, and its failures are shared."""
        ...

    async def stamp(self) -> StampView:
        """Do a proof of work for this identity, and publish it."""
        ...
