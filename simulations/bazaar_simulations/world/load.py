"""The tasks that the agents of a world want done, one after the other."""

from typing import Final

from bazaar_node.service import PostRequest
from bazaar_protocol import limits
from bazaar_protocol.identity import to_did
from bazaar_simulations.world.chance import Chance
from bazaar_simulations.world.node_process import CAPABILITY, NodeProcess, result_of

_PRICE_MAX: Final = 100
_LARGE: Final = 0.05
"""The share of inputs that fit neither into a post nor into a letter, and have to be fetched."""
_SMALL_BYTES: Final = 64
_SECOND: Final = limits.SECOND_MS
_SCHEDULE_TO_START_MS: Final = 20 * _SECOND
_START_TO_CLOSE_MS: Final = 90 * _SECOND
_HEARTBEAT_TIMEOUT_MS: Final = 30 * _SECOND
_VERDICT_WITHIN_MS: Final = 300 * _SECOND
_EXPIRES_IN_MS: Final = 240 * _SECOND
_MODES: Final = ("auction", "auction", "auction", "claim", "direct")


def draw_request(chance: Chance, poster: NodeProcess, others: list[NodeProcess]) -> PostRequest:
    """Draw a task that ``poster`` wants one of ``others`` to do."""
    is_owners = chance.happens(poster.ground.network.weather.judged_by_owner)
    rng = chance.rng
    mode = rng.choice(_MODES) if others else "auction"
    is_large = chance.happens(_LARGE)
    data = rng.randbytes(limits.MAILED_BYTES_MAX + 1 if is_large else _SMALL_BYTES)
    worker = to_did(rng.choice(others).keys.agent) if mode == "direct" else None
    by_relay = mode == "claim"
    return PostRequest(
        capability=CAPABILITY,
        title="a digest",
        input=data,
        media_type="application/octet-stream",
        private=chance.happens(0.2),
        worker=worker,
        price=None if mode == "auction" else _PRICE_MAX,
        price_max=_PRICE_MAX,
        sealed=chance.happens(0.7),
        sequencer="relay" if by_relay else "self",
        schedule_to_start_ms=_SCHEDULE_TO_START_MS,
        start_to_close_ms=_START_TO_CLOSE_MS,
        heartbeat_timeout_ms=_HEARTBEAT_TIMEOUT_MS,
        accept="human" if is_owners else "hash",
        expected_sha256="" if is_owners else result_of(data),
        verdict_within_ms=_VERDICT_WITHIN_MS,
        expires_in_ms=_EXPIRES_IN_MS,
    )
