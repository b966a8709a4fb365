"""How long records stay, by kind.

What can be handed in again must stay longer than it may be, or it would come back as new.
"""

from dataclasses import dataclass, field
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.kinds import KINDS, Advert, Heartbeat, Post
from bazaar_protocol.records import Record

DAYS_MIN: Final = limits.RECORD_AGE_MS_MAX // limits.DAY_MS + 1
DAYS_MAX: Final = 3650
DAYS_USUAL: Final = limits.RECORD_RETENTION_MS // limits.DAY_MS
_FOR_EVER: Final = frozenset({"proof", "omission", "succession"})
_BY_THEMSELVES: Final = _FOR_EVER | {"advert", "heartbeat"}


@dataclass(frozen=True, slots=True)
class Retention:
    """What the operator decides."""

    days: int = DAYS_USUAL
    days_of: dict[str, int] = field(default_factory=dict)
    """Other numbers for some kinds."""

    def expires_ms(self, record: Record, now_ms: int) -> int | None:
        """Return when ``record``, which is new, may be forgotten; None for never."""
        if record.seq > 0 or record.kind in _FOR_EVER:
            return None
        kept_ms = self.days_of.get(record.kind, self.days) * limits.DAY_MS
        match record.body:
            case Advert(expires_in_ms=duration_ms):
                # One that ends an advert outlasts whatever it could have ended.
                retention_ms = duration_ms or limits.ADVERT_LIFETIME_MS_MAX
                return now_ms + max(retention_ms, limits.ADVERT_RETENTION_MS_MIN)
            case Heartbeat():
                return now_ms + limits.HEARTBEAT_RETENTION_MS
            case Post(expires_in_ms=duration_ms):
                return now_ms + duration_ms + kept_ms
            case _:
                return now_ms + kept_ms


def parse_days(texts: list[str]) -> dict[str, int]:
    """Return what settings such as ``bid=31`` say.

    Raises:
        ConfigError: One of them names no kind that can be kept for so long or so short.

    """
    kinds = sorted(
        name for name, kind in KINDS.items() if not kind.is_logged and name not in _BY_THEMSELVES
    )
    days_of: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        days = int(number) if number.isdecimal() else 0
        if name not in kinds or not DAYS_MIN <= days <= DAYS_MAX:
            raise ConfigError(
                f"keep_days_of: {text!r} is not KIND=DAYS, with {DAYS_MIN} to {DAYS_MAX} days for "
                f"one of {', '.join(kinds)}"
            )
        days_of[name] = days
    return days_of
