"""What a node forgets: strangers offer it tasks all day, and most of them come to nothing.

Its own log is never touched, and nothing of a task that is not over.
"""

import asyncio
import sqlite3
from functools import partial
from typing import Final

from bazaar_host.clock import SteadyClock
from bazaar_host.logs import logger
from bazaar_node.storage.store import NodeStore
from bazaar_protocol import limits
from bazaar_protocol.errors import StorageError

OFFERED_KEPT_MS: Final = limits.DAY_MS
"""How long a task is remembered that was offered to us and went to somebody else, or to nobody."""
FINISHED_KEPT_MS: Final = 90 * limits.DAY_MS
"""How long the history of a task is kept in which we had a part."""
FORGET_EVERY_S: Final = 600.0
PAUSE_S: Final = 0.1
"""Between two batches, so that trades are not held up."""
_TASKS_AT_ONCE: Final = 200

_FORGOTTEN: Final = """
    SELECT id FROM task WHERE is_over = 1 AND
        (SELECT max(at_ms) FROM event WHERE event.task = task.id) <
        CASE WHEN role = 'worker' AND NOT EXISTS
            (SELECT 1 FROM event JOIN meta ON meta.name = 'agent' AND event.agent = meta.value
             WHERE event.task = task.id AND what = 'accept')
        THEN :offered_before ELSE :finished_before END
    ORDER BY number LIMIT :limit
"""

log = logger(__name__)


async def forget_forever(store: NodeStore, clock: SteadyClock) -> None:
    """Forget what is old enough, now and then, until cancelled."""
    while True:
        try:
            forgotten = await forget(store, clock.now_ms())
        except StorageError as error:  # it is tried again; nothing depends on it
            log.warning("cannot forget old tasks", trouble=str(error))
            forgotten = 0
        await asyncio.sleep(PAUSE_S if forgotten else FORGET_EVERY_S)


async def forget(store: NodeStore, now_ms: int) -> int:
    """Forget some old tasks, with their events and records; return how many.

    Raises:
        StorageError: They could not be deleted.

    """
    return await store.work(partial(_forget, now_ms))


def _forget(now_ms: int, db: sqlite3.Connection) -> int:
    bounds = {
        "offered_before": now_ms - OFFERED_KEPT_MS,
        "finished_before": now_ms - FINISHED_KEPT_MS,
        "limit": _TASKS_AT_ONCE,
    }
    tasks = db.execute(_FORGOTTEN, bounds).fetchall()
    records = [
        row
        for task in tasks
        for row in db.execute("SELECT record FROM event WHERE task = ?", task).fetchall()
    ]
    db.executemany("DELETE FROM record WHERE id = ?", records)
    db.executemany("DELETE FROM opened WHERE bid = ?", records)
    db.executemany("DELETE FROM event WHERE task = ?", tasks)
    db.executemany("DELETE FROM task WHERE id = ?", tasks)
    return len(tasks)
