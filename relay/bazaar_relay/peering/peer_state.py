"""How things stand with one peer, for people."""

from typing import Literal, TypeAlias

import msgspec

Stage: TypeAlias = Literal["connecting", "catching-up", "live", "shunned"]


class PeerState(msgspec.Struct):
    """How things stand with one peer."""

    address: str
    agent: str
    """Its did:key."""
    stage: Stage = "connecting"
    behind: int = 0
    """How many records of its store are not here yet, as far as that is known."""
    pulled: int = 0
    """How many records were new here."""
    faults: int = 0
    """How often it was sent away for what it showed."""
    compared_ms: int = 0
    """When its logs were compared last."""
    trouble: str = ""
    """What went wrong last; empty once it works again."""
