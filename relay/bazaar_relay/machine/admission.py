"""Whether a record may come in at all, before anyone looks at what it means."""

from dataclasses import dataclass
from typing import Final

from bazaar_protocol import frames, limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Advert, Heartbeat, Post
from bazaar_protocol.records import Record
from bazaar_relay.machine.bounded import Bounded

_VALUES_PER_RECORD: Final = 8
"""So many values of a filter cost about as much as one record."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decides."""

    records_per_s: int = limits.RECORDS_PER_S_MAX
    """For each identity on a link; it may save up for two seconds."""
    bytes_per_s: int = limits.BYTES_PER_S_MAX
    """For each identity likewise, of records and letters."""
    blocked: frozenset[AgentId] = frozenset()
    """Neither their records nor their links are taken."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request uses up of an identity's allowance."""

    records: int
    bytes: int = 0


def cost_of(
    frame: frames.Publish | frames.Claim | frames.Mail | frames.Collect | frames.Subscribe,
) -> Cost:
    """Return what taking ``frame`` costs."""
    match frame:
        case frames.Publish(records=records):
            return Cost(max(1, len(records)), sum(map(len, records)))
        case frames.Mail(sealed=sealed):
            return Cost(1, len(sealed))
        case frames.Subscribe(filters=filters):
            return Cost(1 + sum(map(_values, filters)) // _VALUES_PER_RECORD)
        case _:
            return Cost(1)


def _values(wanted: frames.Filter) -> int:
    parts = (wanted.kinds, wanted.authors, wanted.tasks, wanted.to, wanted.tags)
    return sum(map(len, parts))


@dataclass(slots=True)
class _Bucket:
    records_ms: int
    """In thousandths, as is the next; below zero for who has taken more than was left."""
    bytes_ms: int
    filled_ms: int


class Admission:
    """The policy, and how much of their allowance the identities have used."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._buckets: Bounded[AgentId, _Bucket] = Bounded(limits.AGENTS_COUNTED_MAX)

    def take(self, peer: AgentId, cost: Cost, now_ms: int) -> str:
        """Count ``cost`` against the allowance of ``peer``; return why not, if that is used up.

        Whoever has anything left may take more than that, and waits the longer: otherwise a
        request above the whole allowance could never be met.
        """
        policy = self.policy
        full_records = 2 * policy.records_per_s * limits.SECOND_MS
        full_bytes = 2 * policy.bytes_per_s * limits.SECOND_MS
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = _Bucket(full_records, full_bytes, now_ms)
            self._buckets.put(peer, bucket)
        elapsed_ms = max(0, now_ms - bucket.filled_ms)
        filled = bucket.records_ms + elapsed_ms * policy.records_per_s
        bucket.records_ms = min(full_records, filled)
        bucket.bytes_ms = min(full_bytes, bucket.bytes_ms + elapsed_ms * policy.bytes_per_s)
        bucket.filled_ms = now_ms
        if bucket.records_ms <= 0:
            return f"at most {policy.records_per_s} records per second"
        if bucket.bytes_ms <= 0:
            return f"at most {policy.bytes_per_s} bytes per second"
        bucket.records_ms -= cost.records * limits.SECOND_MS
        bucket.bytes_ms -= cost.bytes * limits.SECOND_MS
        return ""

    def refusal(self, record: Record, now_ms: int) -> str | None:
        """Return why ``record`` is not taken, or None."""
        if record.author in self.policy.blocked:
            return "blocked: this relay takes nothing from its author"
        if record.time_ms > now_ms + limits.RECORD_FUTURE_MS_MAX:
            ahead_s = (record.time_ms - now_ms) // limits.SECOND_MS
            return f"expired: it is dated {ahead_s} s ahead of this relay's clock"
        is_beat = isinstance(record.body, Heartbeat)
        age_ms_max = limits.HEARTBEAT_AGE_MS_MAX if is_beat else limits.RECORD_AGE_MS_MAX
        if record.seq == 0 and record.time_ms < now_ms - age_ms_max:
            return "expired: it is too old to be taken as new"
        if isinstance(record.body, Advert) and record.body.expires_in_ms > 0:
            # Otherwise anyone could bring back the adverts that an agent has let expire.
            expires_ms = record.time_ms + record.body.expires_in_ms + limits.CLOCK_SLACK_MS
            if expires_ms < now_ms:
                return "expired: the advert is over by its own date"
        return None


def expires_ms(record: Record, now_ms: int) -> int | None:
    """Return when the relay may forget ``record``; None for never."""
    if record.seq > 0 or record.kind in {"proof", "omission", "succession"}:
        return None
    match record.body:
        case Advert(expires_in_ms=duration_ms):
            # One that ends an advert outlasts whatever it could have ended.
            retention_ms = duration_ms or limits.ADVERT_LIFETIME_MS_MAX
            return now_ms + max(retention_ms, limits.ADVERT_RETENTION_MS_MIN)
        case Heartbeat():
            return now_ms + limits.HEARTBEAT_RETENTION_MS
        case Post(expires_in_ms=duration_ms):
            return now_ms + duration_ms + limits.RECORD_RETENTION_MS
        case _:
            return now_ms + limits.RECORD_RETENTION_MS
