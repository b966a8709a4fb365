"""What the owner does with canaries: answers that the node knows, to try strangers with."""

from hashlib import sha256
from typing import Final

from bazaar_node.driver import Driver
from bazaar_node.market.drafts import split_capability
from bazaar_node.market.probes import Canary
from bazaar_node.service import CanaryRequest, CanaryView
from bazaar_node.storage import market_memory
from bazaar_node.storage.store import NodeStore
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.normal_form import to_normal

CANARIES_MAX: Final = 4_096
_DIGEST_BYTES: Final = 32


class CanaryDesk:
    """Keeps canaries, in the store and in the agent; see ``service.Canaries``."""

    def __init__(self, store: NodeStore, driver: Driver) -> None:
        self._store = store
        self._driver = driver

    async def all(self) -> list[CanaryView]:
        """Return the canaries, oldest first."""
        known = self._driver.agent.trust.probes.canaries
        return [_view(known[number]) for number in sorted(known)]

    async def add(self, request: CanaryRequest) -> CanaryView:
        """Keep an input with the hash of its one right result."""
        known = self._driver.agent.trust.probes.canaries
        if len(known) >= CANARIES_MAX:
            raise ConfigError(f"there are {CANARIES_MAX} canaries already; remove some")
        kept = await market_memory.add_canary(self._store, _canary(request))
        # The agent may have been built again meanwhile, and then has it from the store.
        self._driver.agent.trust.probes.canaries[kept.number] = kept
        return _view(kept)

    async def remove(self, number: int) -> None:
        """Forget a canary."""
        await market_memory.drop_canary(self._store, number)
        self._driver.agent.trust.probes.canaries.pop(number, None)


def _canary(request: CanaryRequest) -> Canary:
    name, version = split_capability(request.capability)
    if not name:
        raise ConfigError("for which capability? give -c CAPABILITY")
    if len(request.input) > limits.INPUT_INLINE_BYTES_MAX:
        most = limits.INPUT_INLINE_BYTES_MAX
        raise ConfigError(f"the input of a canary has {most} bytes at most, to travel in its post")
    try:
        digest = bytes.fromhex(request.expected_sha256)
    except ValueError as error:
        raise ConfigError(f"not a SHA-256 in hex: {request.expected_sha256!r}") from error
    if len(digest) != _DIGEST_BYTES:
        raise ConfigError(f"not a SHA-256 in hex: {request.expected_sha256!r}")
    media_type = to_normal(request.media_type, limits.NAME_CHARS_MAX)
    return Canary(0, name, version, request.input, media_type, digest)


def _view(canary: Canary) -> CanaryView:
    version = f"@{canary.version}" if canary.version else ""
    return CanaryView(
        number=canary.number,
        capability=canary.capability + version,
        input_sha256=sha256(canary.input).hexdigest(),
        input_size=len(canary.input),
        expected_sha256=canary.digest.hex(),
    )
