"""What came of our own tasks, beside what their workers had promised.

It says how seasoned we are, what a usual task of ours is worth, and how far a worker's claims have
come true.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId

SEASONED_FROM: Final = 10
"""With so many receipts of our own we know enough to turn strangers down."""
SCORED_AFTER_MS: Final = 10 * limits.SECOND_MS
"""Scores follow the trades at a distance, which is shorter than this."""
CLAIMS_KEPT: Final = 50
"""Of one worker: what it claimed long ago says little about now."""
WORKERS_KEPT: Final = 4_096
CEILINGS_KEPT: Final = 256
FRESH_KEPT: Final = 4_096


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt at a task of ours."""

    task: RecordId
    epoch: int
    worker: AgentId
    capability: str
    version: int
    """With which version of the capability the work was done."""
    fingerprint: bytes
    ceiling: int
    confidence: int | None
    """The chance of success that the winning bid stated, in basis points; None without a bid."""
    eta_ms: int | None
    """The time within which nine of ten were to be done, by the winning bid."""
    is_good: bool
    took_ms: int
    """From the accept to the result, or to the end of the lease."""
    is_probe: bool = False


class Experience:
    """The outcomes of our tasks.

    Args:
        outcomes: The latest ones, oldest first.
        receipts: How many there were in all; by default as many as are given.
        value: What the tasks among them that were no probes were worth to us together.

    """

    def __init__(
        self,
        outcomes: Iterable[Outcome] = (),
        *,
        receipts: int | None = None,
        value: int | None = None,
    ) -> None:
        self.receipts = 0
        self.value = 0
        self._by_worker: OrderedDict[AgentId, deque[Outcome]] = OrderedDict()
        self._ceilings: deque[int] = deque(maxlen=CEILINGS_KEPT)
        self._fresh: deque[int] = deque(maxlen=FRESH_KEPT)
        """When the receipts came that scores need not know of yet."""
        for outcome in outcomes:
            self.add(outcome)
        self.receipts = self.receipts if receipts is None else receipts
        self.value = self.value if value is None else value

    def is_seasoned(self, now_ms: int) -> bool:
        """Tell whether scores mean something to us yet: enough receipts, and they know of them."""
        while self._fresh and self._fresh[0] <= now_ms - SCORED_AFTER_MS:
            self._fresh.popleft()
        return self.receipts - len(self._fresh) >= SEASONED_FROM

    def add(self, outcome: Outcome, now_ms: int | None = None) -> None:
        """Take note of one more, which came ``now_ms`` or long ago."""
        self.receipts += 1
        if now_ms is not None:
            self._fresh.append(now_ms)
        if not outcome.is_probe:
            self.value += outcome.ceiling
            self._ceilings.append(outcome.ceiling)
        known = self._by_worker.setdefault(outcome.worker, deque(maxlen=CLAIMS_KEPT))
        known.append(outcome)
        self._by_worker.move_to_end(outcome.worker)
        if len(self._by_worker) > WORKERS_KEPT:
            self._by_worker.popitem(last=False)

    def of(self, worker: AgentId) -> Sequence[Outcome]:
        """Return what came of the latest tasks that a worker had, oldest first."""
        return tuple(self._by_worker.get(worker, ()))

    def usual_ceiling(self) -> int:
        """Return the ceiling that half of our tasks do not exceed; 0 when there were none."""
        return median_low(self._ceilings) if self._ceilings else 0

    def works_with(self, worker: AgentId, capability: str) -> tuple[int, bytes]:
        """Return version and fingerprint by which a worker last did this; zeros if it never did."""
        for outcome in reversed(self.of(worker)):
            if outcome.capability == capability:
                return outcome.version, outcome.fingerprint
        return 0, b""
