"""Posts that a worker comes back to: it was busy, or somebody else was faster, or it has failed.

What it would do for strangers, if they held less of its work already, comes last: anybody can post.

A relay offers a task once to each worker, so who could not have it then has to come back to it by
itself, for as long as it may be had again.
"""

from dataclasses import dataclass
from typing import Final

from bazaar_protocol.kinds import Post
from bazaar_protocol.records import Record, RecordId

DEFERRED_MAX: Final = 256
"""How many are remembered; the oldest gives way, a doubtful one first."""
AGAIN_MS: Final = 500
"""While a slot stays free, the next one is looked at after this time: what was looked at last may
have gone to somebody else, and nobody says so."""
PAUSE_FACTOR_MAX: Final = 8
"""A pause doubles each time, up to so many times the first."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    post: Record
    due_ms: int
    is_doubtful: bool = False


class Deferred:
    """Posts to be considered again, oldest first."""

    def __init__(self) -> None:
        self._posts: dict[RecordId, _Waiting] = {}
        self._pauses: dict[RecordId, int] = {}
        self._due_ms = 0
        self._too_little = 0
        """How much credit there was when it was last too little."""

    def add(self, post: Record, slack: int | None = None) -> None:
        """Remember a post, to be looked at as soon as a slot is free.

        One for which there is too little ``slack`` of credit is looked at when there is more, and
        nothing else is due.
        """
        self._keep(_Waiting(post, 0, is_doubtful=slack is not None))
        if slack is not None:
            self._too_little = slack

    def add_later(self, post: Record, now_ms: int, pause_ms: int) -> None:
        """Remember a post, to be looked at after a pause, which is longer each time."""
        last_ms = self._pauses.pop(post.id, pause_ms // 2)
        pause_ms = self._pauses[post.id] = min(2 * last_ms, PAUSE_FACTOR_MAX * pause_ms)
        if len(self._pauses) > DEFERRED_MAX:
            del self._pauses[next(iter(self._pauses))]
        self._keep(_Waiting(post, now_ms + pause_ms))

    def forget(self, task: RecordId) -> None:
        """Forget a post, which was answered meanwhile."""
        self._posts.pop(task, None)

    def is_pausing(self, task: RecordId, now_ms: int) -> bool:
        """Tell whether a post is not to be looked at yet."""
        waiting = self._posts.get(task)
        return waiting is not None and now_ms < waiting.due_ms

    def due_ms(self, slack: int) -> int | None:
        """Return when to look at the next one if a slot is free; None if there is none."""
        first_ms = min((one.due_ms for one in self._some(slack)), default=None)
        return None if first_ms is None else max(first_ms, self._due_ms)

    def pop(self, now_ms: int, slack: int) -> Record | None:
        """Take out the oldest that is due and has not expired."""
        self._due_ms = now_ms + AGAIN_MS
        due = [one for one in self._some(slack) if one.due_ms <= now_ms]
        for post in (one.post for one in sorted(due, key=lambda one: one.is_doubtful)):
            del self._posts[post.id]
            assert isinstance(post.body, Post)
            if now_ms < post.time_ms + post.body.expires_in_ms:
                return post
        return None

    def _some(self, slack: int) -> list[_Waiting]:
        has_more = slack > self._too_little
        return [one for one in self._posts.values() if has_more or not one.is_doubtful]

    def _keep(self, waiting: _Waiting) -> None:
        self._posts.pop(waiting.post.id, None)
        self._posts[waiting.post.id] = waiting
        while len(self._posts) > DEFERRED_MAX:
            doubtful = (id_ for id_, one in self._posts.items() if one.is_doubtful)
            del self._posts[next(doubtful, next(iter(self._posts)))]
