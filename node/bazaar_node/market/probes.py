"""Probes: tasks whose answer we know, given to strangers to find out who can do what.

A probe looks like any other direct task: every post of ours carries a commitment, a random one
unless it is a probe. What it commits to is opened after the verdict, so anyone can check that we
knew the answer before and did not make it up to blame somebody.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from bazaar_protocol.award import EXPECTED_VALUE
from bazaar_protocol.evidence import canary
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Acceptance, Input, Post
from bazaar_protocol.records import RecordId
from bazaar_reputation.priors import Admission

CANARY_BYTES: Final = 32
RATE: Final = 100
"""Of a thousand tasks for which there are canaries, so many bring a probe along."""
BUDGET: Final = 40
"""Of a thousand that our tasks were worth, so much may go into probes."""
PROBES_KEPT: Final = 1_024

_THOUSAND: Final = 1_000
_DRAW_BYTES: Final = 8
_NONCE_BYTES: Final = 16
_ORDER: Final[tuple[Admission, ...]] = ("vouched", "stamped", "bare")


@dataclass(frozen=True, slots=True)
class Canary:
    """An input, and the hash of the one right result."""

    number: int
    capability: str
    version: int
    """0 when the answer is the same for all versions."""
    input: bytes
    media_type: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Probe:
    """A task of ours that is a probe."""

    task: RecordId
    canary: int
    worker: AgentId
    price: int
    salt: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Stranger:
    """A bidder of whom we know nothing, and for what it would work."""

    agent: AgentId
    price: int
    admission: Admission


@dataclass(frozen=True, slots=True)
class Draft:
    """A probe to be posted."""

    post: Post
    canary: int
    worker: AgentId
    salt: bytes
    digest: bytes

    def of(self, task: RecordId) -> Probe:
        """Return the probe that it is once its post is signed."""
        return Probe(task, self.canary, self.worker, self.post.price, self.salt, self.digest)


class Probes:
    """The canaries of a node, and what it has done with them.

    Args:
        canaries: What we know the answers to.
        probes: The probes of late, oldest first.
        spent: The prices of all probes so far.

    """

    def __init__(
        self, canaries: Iterable[Canary] = (), probes: Iterable[Probe] = (), *, spent: int = 0
    ) -> None:
        self.canaries = {one.number: one for one in canaries}
        self.spent = spent
        self._probes = {one.task: one for one in probes}

    def get(self, task: RecordId) -> Probe | None:
        """Return the probe that a task is, if it is one."""
        return self._probes.get(task)

    def add(self, probe: Probe) -> None:
        """Take note of a probe."""
        self._probes[probe.task] = probe
        self.spent += probe.price
        while len(self._probes) > PROBES_KEPT:
            del self._probes[next(iter(self._probes))]

    def draft(
        self,
        like: Post,
        strangers: Sequence[Stranger],
        *,
        value: int,
        entropy: Callable[[int], bytes],
    ) -> Draft | None:
        """Return a probe to post beside a task; mostly None, by chance or for want of something.

        Args:
            like: The task, which the probe resembles.
            strangers: Who could be probed.
            value: What our tasks were worth so far: probes may cost a small share of that.
            entropy: Draws random bytes.

        """
        fitting = [one for one in self.canaries.values() if _fits(one, like)]
        if not fitting or _draw(entropy, _THOUSAND) >= RATE:
            return None
        left = value * BUDGET // _THOUSAND - self.spent
        pairs = [
            (stranger, known)
            for stranger in strangers
            for known in fitting
            if stranger.price <= left and not self._has_met(stranger.agent, known)
        ]
        if not pairs:
            return None
        first = min(_ORDER.index(stranger.admission) for stranger, _ in pairs)
        best = [pair for pair in pairs if _ORDER.index(pair[0].admission) == first]
        stranger, chosen = best[_draw(entropy, len(best))]
        salt = entropy(CANARY_BYTES)
        post = _post(like, stranger, chosen, salt)
        post = msgspec.structs.replace(post, idempotency_key=entropy(_NONCE_BYTES).hex())
        return Draft(post, chosen.number, stranger.agent, salt, chosen.digest)

    def _has_met(self, worker: AgentId, known: Canary) -> bool:
        """Tell whether a worker had this canary before: it would only have to remember."""
        return any(
            probe.worker == worker and probe.canary == known.number
            for probe in self._probes.values()
        )


def _fits(known: Canary, post: Post) -> bool:
    is_version = known.version in {0, post.capability_version}
    return known.capability == post.capability and is_version


def _post(like: Post, stranger: Stranger, known: Canary, salt: bytes) -> Post:
    acceptance = like.acceptance
    if acceptance.method in {"hash", "evaluator"}:  # nobody else judges it, and no hash is told
        acceptance = Acceptance("schema", b"", None, acceptance.verdict_within_ms)
    digest = sha256(known.input).digest()
    return msgspec.structs.replace(
        like,
        mode="direct",
        worker=stranger.agent,
        price=stranger.price,
        input=Input(known.input, digest, len(known.input), known.media_type, False),
        acceptance=acceptance,
        bid_window_ms=0,
        rule=EXPECTED_VALUE,
        sealed=False,
        canary=canary(salt, known.digest),
    )


def _draw(entropy: Callable[[int], bytes], below: int) -> int:
    """Draw a number; its bias is beyond notice, since what is drawn from is small."""
    return int.from_bytes(entropy(_DRAW_BYTES)) % below
