"""Posts that a worker has still to answer: they came while it was busy, or just before a crash.

A relay offers a task once to each worker, so who is busy has to come back to it by itself.
"""

from typing import Final

from bazaar_protocol.kinds import Post
from bazaar_protocol.records import Record, RecordId

DEFERRED_MAX: Final = 256
"""How many are remembered; the oldest gives way."""
AGAIN_MS: Final = 500
"""While a slot stays free, the next one is looked at after this time: what was looked at last may
have gone to somebody else, and nobody says so."""


class Deferred:
    """Posts to be considered again, oldest first."""

    def __init__(self) -> None:
        self._posts: dict[RecordId, Record] = {}
        self._due_ms = 0

    def add(self, post: Record) -> None:
        """Remember a post."""
        self._posts[post.id] = post
        while len(self._posts) > DEFERRED_MAX:
            del self._posts[next(iter(self._posts))]

    def forget(self, task: RecordId) -> None:
        """Forget a post, which was answered meanwhile."""
        self._posts.pop(task, None)

    def due_ms(self) -> int | None:
        """Return when to look at the next one if a slot is free; None if there is none."""
        return self._due_ms if self._posts else None

    def pop(self, now_ms: int) -> Record | None:
        """Take out the oldest that has not expired."""
        self._due_ms = now_ms + AGAIN_MS
        while self._posts:
            post = self._posts.pop(next(iter(self._posts)))
            assert isinstance(post.body, Post)
            if now_ms < post.time_ms + post.body.expires_in_ms:
                return post
        return None
