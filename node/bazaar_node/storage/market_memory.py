"""What a node remembers beyond single tasks: answers it knows, its probes, what came of its tasks.

Tasks are forgotten in time; this is kept, since it is what the node goes by when it chooses. Only
what posters hold of ours is read from the tasks themselves: for as long as those are remembered.
"""

import itertools
import sqlite3
from typing import Any, Final

from bazaar_node.market.credit import Credit, Unpaid
from bazaar_node.market.experience import Experience, Outcome
from bazaar_node.market.opinions import Opinions
from bazaar_node.market.policy import Policies
from bazaar_node.market.probes import PROBES_KEPT, Canary, Probe, Probes
from bazaar_node.market.trust import Trust
from bazaar_node.storage.store import NodeStore
from bazaar_protocol.errors import NotFound
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId

_DELIVERED: Final = """
    SELECT task.id, post.agent, task.state, max(event.at_ms) AS ended_ms
    FROM task
    JOIN event AS post ON post.task = task.id AND post.what = 'post'
    JOIN event ON event.task = task.id AND event.is_folded
    WHERE task.role = 'worker' AND task.is_over AND task.state IN ('accepted', 'rejected', 'lapsed')
      AND EXISTS (SELECT 1 FROM event AS own JOIN meta ON meta.name = 'agent'
                  WHERE own.task = task.id AND own.what = 'deliver' AND own.agent = meta.value)
    GROUP BY task.id ORDER BY ended_ms, task.number
"""
OUTCOMES_LOADED_MAX: Final = 16_384
"""So many of the latest are in memory after a start; older ones only in the sums."""


async def load_trust(store: NodeStore, policies: Policies, opinions: Opinions) -> Trust:
    """Return all that an agent goes by when it chooses whom to deal with.

    Raises:
        StorageError: It cannot be read.

    """
    experience, probes = await load_experience(store), await load_probes(store)
    return Trust(opinions, policies, experience, probes, await load_credit(store))


async def load_experience(store: NodeStore) -> Experience:
    """Return what came of our tasks.

    Raises:
        StorageError: It cannot be read.

    """
    return await store.read(_load_experience)


async def load_credit(store: NodeStore) -> Credit:
    """Return who has accepted results of ours, and what came to nothing.

    Raises:
        StorageError: It cannot be read.

    """
    return await store.read(_load_credit)


async def load_probes(store: NodeStore) -> Probes:
    """Return the canaries and the probes.

    Raises:
        StorageError: They cannot be read.

    """
    return await store.read(_load_probes)


async def add_canary(store: NodeStore, canary: Canary) -> Canary:
    """Keep a canary and return it with its number; the same input again gets a new answer.

    Raises:
        StorageError: There is no room for it.

    """
    row = (canary.capability, canary.version, canary.input, canary.media_type, canary.digest)

    def insert(db: sqlite3.Connection) -> int:
        (number,) = db.execute(
            """INSERT INTO canary (capability, version, input, media_type, digest)
               VALUES (?, ?, ?, ?, ?)
               ON CONFLICT (capability, version, input)
               DO UPDATE SET media_type = excluded.media_type, digest = excluded.digest
               RETURNING number""",
            row,
        ).fetchone()
        return int(number)

    return Canary(await store.work(insert), *row)


async def drop_canary(store: NodeStore, number: int) -> None:
    """Forget a canary.

    Raises:
        NotFound: There is none of that number.

    """
    gone = await store.work(
        lambda db: db.execute("DELETE FROM canary WHERE number = ?", (number,)).rowcount
    )
    if not gone:
        raise NotFound(f"there is no canary {number}")


def _load_experience(db: sqlite3.Connection) -> Experience:
    receipts, value = db.execute(
        "SELECT count(*), coalesce(sum(ceiling) FILTER (WHERE NOT is_probe), 0) FROM outcome"
    ).fetchone()
    rows = db.execute(
        """SELECT task, epoch, worker, capability, version, fingerprint, ceiling, confidence,
                  eta_ms, is_good, took_ms, is_probe
           FROM outcome ORDER BY number DESC LIMIT ?""",
        (OUTCOMES_LOADED_MAX,),
    ).fetchall()
    return Experience(map(_outcome, reversed(rows)), receipts=receipts, value=value)


def _outcome(row: tuple[Any, ...]) -> Outcome:
    task, epoch, worker, *rest = row
    capability, version, fingerprint, ceiling, confidence, eta_ms, is_good, took_ms, is_probe = rest
    return Outcome(
        task=RecordId(task),
        epoch=epoch,
        worker=AgentId(worker),
        capability=capability,
        version=version,
        fingerprint=fingerprint,
        ceiling=ceiling,
        confidence=confidence,
        eta_ms=eta_ms,
        is_good=bool(is_good),
        took_ms=took_ms,
        is_probe=bool(is_probe),
    )


def _load_credit(db: sqlite3.Connection) -> Credit:
    rows = db.execute(_DELIVERED).fetchall()
    results = [(Unpaid(RecordId(task), AgentId(poster), ended_ms), state == "accepted")
               for task, poster, state, ended_ms in rows]  # fmt: skip
    accepted = [result.poster for result, is_accepted in results if is_accepted]
    unpaid = [result for result, is_accepted in results if not is_accepted]
    return Credit(accepted, accepted=len(accepted), unpaid=unpaid)


def _load_probes(db: sqlite3.Connection) -> Probes:
    (spent,) = db.execute("SELECT coalesce(sum(price), 0) FROM probe").fetchone()
    canaries = db.execute(
        "SELECT number, capability, version, input, media_type, digest FROM canary ORDER BY number"
    ).fetchall()
    rows = db.execute(
        """SELECT task, canary, worker, price, salt, digest
           FROM probe ORDER BY number DESC LIMIT ?""",
        (PROBES_KEPT,),
    ).fetchall()
    probes = [
        Probe(RecordId(task), canary, AgentId(worker), *rest)
        for task, canary, worker, *rest in reversed(rows)
    ]
    return Probes(itertools.starmap(Canary, canaries), probes, spent=spent)
