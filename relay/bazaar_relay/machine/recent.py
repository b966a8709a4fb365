"""The ids of the newest records: most duplicates are known by them, without a look at the store."""

from collections import OrderedDict

from bazaar_protocol import limits
from bazaar_protocol.records import Record, RecordId


class Recent:
    """At most ``size_max`` ids, in the order in which they came."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._ids: OrderedDict[RecordId, tuple[int, int]] = OrderedDict()
        self._forgot_ms: int | None = None

    def add(self, record: RecordId, group: int, now_ms: int) -> None:
        """Remember a record that came in ``group``."""
        self._ids[record] = (group, now_ms)
        if len(self._ids) > self._size_max:
            _, (_, came_ms) = self._ids.popitem(last=False)
            self.begin(came_ms)

    def begin(self, now_ms: int) -> None:
        """Take note that not all of what came until ``now_ms`` is remembered here."""
        self._forgot_ms = max(now_ms, self._forgot_ms or 0)

    def group(self, record: RecordId) -> int | None:
        """Return the group in which a record came, if that is remembered."""
        found = self._ids.get(record)
        return None if found is None else found[0]

    def discard(self, record: RecordId) -> None:
        """Forget a record that was not kept after all."""
        self._ids.pop(record, None)

    def is_surely_new(self, record: Record) -> bool:
        """Tell whether the store cannot have ``record``, which is not remembered here.

        Nothing is taken that is dated too far ahead, so a record cannot have come long before its
        date; if everything that came since then is remembered, it has not come at all.
        """
        came_after_ms = record.time_ms - limits.RECORD_FUTURE_MS_MAX
        return self._forgot_ms is None or came_after_ms > self._forgot_ms

    def __contains__(self, record: RecordId) -> bool:
        return record in self._ids
