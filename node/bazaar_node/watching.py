"""Who waits for a task to change."""

import asyncio

from bazaar_protocol.records import RecordId


class Watchers:
    """Wakes those who watch a task. A burst of changes may wake them once."""

    def __init__(self) -> None:
        self._waiting: dict[RecordId, set[asyncio.Event]] = {}

    def notify(self, task: RecordId) -> None:
        """Wake everybody who watches ``task``."""
        for event in self._waiting.get(task, ()):
            event.set()

    def watch(self, task: RecordId) -> "Watch":
        """Begin to watch ``task``; changes from now on are noticed."""
        return Watch(self._waiting, task)


class Watch:
    """One watcher of one task, from ``with`` to the end of the block."""

    def __init__(self, waiting: dict[RecordId, set[asyncio.Event]], task: RecordId) -> None:
        self._waiting = waiting
        self._task = task
        self._event = asyncio.Event()

    def __enter__(self) -> "Watch":
        self._waiting.setdefault(self._task, set()).add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        watchers = self._waiting[self._task]
        watchers.discard(self._event)
        if not watchers:
            del self._waiting[self._task]

    async def changed(self) -> None:
        """Wait until the task has changed since the last call."""
        await self._event.wait()
        self._event.clear()
