"""Whether a record may come in at all, before anyone looks at what it means."""

from dataclasses import dataclass

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Advert, Heartbeat, Post
from bazaar_protocol.records import Record
from bazaar_relay.bounded import Bounded


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decides."""

    records_per_s: int = limits.RECORDS_PER_S_MAX
    """For each identity on a link; it may save up for two seconds."""
    blocked: frozenset[AgentId] = frozenset()
    """Neither their records nor their links are taken."""


@dataclass(slots=True)
class _Bucket:
    tokens_ms: int
    filled_ms: int


class Admission:
    """The policy, and how much of their allowance the identities have used."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._buckets: Bounded[AgentId, _Bucket] = Bounded(limits.AGENTS_COUNTED_MAX)

    def take(self, peer: AgentId, records: int, now_ms: int) -> bool:
        """Count ``records`` against the allowance of ``peer``; False if that is used up."""
        rate = self.policy.records_per_s
        full = 2 * rate * limits.SECOND_MS  # in thousandths of a record
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = _Bucket(full, now_ms)
            self._buckets.put(peer, bucket)
        elapsed_ms = max(0, now_ms - bucket.filled_ms)
        bucket.tokens_ms = min(full, bucket.tokens_ms + elapsed_ms * rate)
        bucket.filled_ms = now_ms
        cost = records * limits.SECOND_MS
        if cost > bucket.tokens_ms:
            return False
        bucket.tokens_ms -= cost
        return True

    def refusal(self, record: Record, now_ms: int) -> str | None:
        """Return why ``record`` is not taken, or None."""
        if record.author in self.policy.blocked:
            return "blocked: this relay takes nothing from its author"
        if record.time_ms > now_ms + limits.RECORD_FUTURE_MS_MAX:
            ahead_s = (record.time_ms - now_ms) // limits.SECOND_MS
            return f"expired: it is dated {ahead_s} s ahead of this relay's clock"
        if record.seq == 0 and record.time_ms < now_ms - limits.RECORD_AGE_MS_MAX:
            return "expired: it is too old to be taken as new"
        if isinstance(record.body, Advert) and record.body.expires_in_ms > 0:
            # Otherwise anyone could bring back the adverts that an agent has let expire.
            expires_ms = record.time_ms + record.body.expires_in_ms + limits.CLOCK_SLACK_MS
            if expires_ms < now_ms:
                return "expired: the advert is over by its own date"
        return None


def expires_ms(record: Record, now_ms: int) -> int | None:
    """Return when the relay may forget ``record``; None for never."""
    if record.seq > 0 or record.kind in {"proof", "succession"}:
        return None
    match record.body:
        case Advert(expires_in_ms=duration_ms):
            # One that ends an advert outlasts whatever it could have ended.
            return now_ms + (duration_ms or limits.ADVERT_LIFETIME_MS_MAX)
        case Heartbeat():
            return now_ms + limits.HEARTBEAT_RETENTION_MS
        case Post(expires_in_ms=duration_ms):
            return now_ms + duration_ms + limits.RECORD_RETENTION_MS
        case _:
            return now_ms + limits.RECORD_RETENTION_MS
