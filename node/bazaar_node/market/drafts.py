"""From what the owner asks for to what the protocol says: posts and offers."""

from hashlib import sha256

from bazaar_node.market.events import Offer
from bazaar_node.service import Method, OfferRequest, PostRequest, Weights
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId, parse_agent
from bazaar_protocol.kinds import Acceptance, Input, Lease, Mode, Post, Rule
from bazaar_protocol.normal_form import to_normal


def draft_post(
    request: PostRequest,
    *,
    poster: AgentId,
    relay: AgentId | None,
    addresses: tuple[str, ...],
    nonce: str,
    canary: bytes = b"",
) -> Post:
    """Return the post that ``request`` asks for.

    ``nonce`` tells apart two posts that ask for the same thing in the same millisecond. ``canary``
    is random: a commitment to nothing, so that nobody can tell a probe by having one.

    Raises:
        ConfigError: The request contradicts itself.

    """
    name, version = split_capability(request.capability)
    mode = _mode(request)
    if mode != "auction" and request.price is None:
        raise ConfigError(f"a {mode} task needs a price: that is what its worker gets")
    sequencer = poster
    if request.sequencer == "relay":
        if relay is None:
            raise ConfigError("no relay is connected that could sequence the task")
        sequencer = relay
    return Post(
        title=to_normal(request.title, limits.TEXT_CHARS_MAX),
        capability=name,
        capability_version=version,
        mode=mode,
        input=_input(request),
        output_schema=request.output_schema,
        acceptance=_acceptance(request),
        price=request.price_max if request.price is None else request.price,
        bid_window_ms=request.bid_window_ms if mode == "auction" else 0,
        rule=_rule(request.weights),
        lease=_lease(request),
        sequencer=sequencer,
        worker=None if request.worker is None else parse_agent(request.worker),
        bidders_max=request.bidders_max,
        sealed=request.sealed and mode == "auction",
        canary=canary,
        tags=tuple(to_normal(tag, limits.NAME_CHARS_MAX) for tag in request.tags),
        idempotency_key=to_normal(request.idempotency_key or nonce, limits.NAME_CHARS_MAX),
        addresses=addresses[: limits.ADDRESSES_MAX],
        expires_in_ms=request.expires_in_ms,
    )


def draft_offer(request: OfferRequest) -> Offer:
    """Return the offer that ``request`` asks for.

    Raises:
        ConfigError: The request contradicts itself.

    """
    name, version = split_capability(request.capability)
    if not 0 <= request.confidence <= 10_000:
        raise ConfigError("confidence is given in basis points, 0 to 10,000")
    if request.price < 0 or request.eta_ms < 0:
        raise ConfigError("price and eta are not negative")
    fingerprint = request.fingerprint.encode()
    return Offer(
        name=name,
        version=version or 1,
        description=to_normal(request.description, limits.TEXT_CHARS_MAX),
        price=request.price,
        eta_ms=request.eta_ms,
        confidence=request.confidence,
        input_schema=request.input_schema,
        output_schema=request.output_schema,
        media_type=to_normal(request.media_type, limits.NAME_CHARS_MAX),
        tags=tuple(to_normal(tag, limits.NAME_CHARS_MAX) for tag in request.tags),
        fingerprint=sha256(fingerprint).digest() if fingerprint else b"",
        command=request.command,
    )


def split_capability(text: str) -> tuple[str, int]:
    """Split ``name@version``; 0 when no version is given.

    Raises:
        ConfigError: It is not of that form.

    """
    name, _, version = text.partition("@")
    if not version:
        return name, 0
    if not version.isdecimal() or not 1 <= int(version) <= limits.INTEGER_MAX:
        raise ConfigError(f"a capability is written like pdf.extract@2, not {text!r}")
    return name, int(version)


def _mode(request: PostRequest) -> Mode:
    if request.mode is not None:
        return request.mode
    if request.worker is not None:
        return "direct"
    return "auction" if request.price is None else "claim"


def _input(request: PostRequest) -> Input:
    data = request.input
    is_inline = not request.private and len(data) <= limits.INPUT_INLINE_BYTES_MAX
    return Input(
        data=data if is_inline else None,
        hash=sha256(data).digest(),
        size=len(data),
        media_type=to_normal(request.media_type, limits.NAME_CHARS_MAX),
        private=request.private,
    )


def _rule(weights: Weights) -> Rule:
    return Rule(weights.price, weights.eta, weights.confidence, weights.standing)


def _lease(request: PostRequest) -> Lease:
    return Lease(
        schedule_to_start_ms=request.schedule_to_start_ms,
        start_to_close_ms=request.start_to_close_ms,
        heartbeat_timeout_ms=request.heartbeat_timeout_ms,
        attempts_max=request.attempts_max,
    )


def _acceptance(request: PostRequest) -> Acceptance:
    method: Method = request.accept or "schema"
    if request.accept is None and request.expected_sha256:
        method = "hash"
    elif request.accept is None and request.check_command:
        method = "command"
    if (method == "hash") != bool(request.expected_sha256):
        raise ConfigError("the expected hash goes with accepting by hash, and nothing else")
    if (method == "command") != bool(request.check_command):
        raise ConfigError("a check command goes with accepting by command, and nothing else")
    try:
        expected = bytes.fromhex(request.expected_sha256)
    except ValueError as error:
        raise ConfigError(f"not a SHA-256 in hex: {request.expected_sha256!r}") from error
    return Acceptance(method, expected, None, request.verdict_within_ms)
