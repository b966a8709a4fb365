"""What a node forgets, and what it never does."""

from pathlib import Path

from tests.market import Market

from bazaar_node.market.events import Judged
from bazaar_node.storage.retention import FINISHED_KEPT_MS, OFFERED_KEPT_MS, forget
from bazaar_node.storage.store import NodeStore
from bazaar_protocol.records import RecordId

CAPABILITY = "a.b"


async def test_offers_that_came_to_nothing_go_first_and_the_log_never(tmp_path: Path) -> None:
    market = Market()
    market.add("ada")
    market.add("bo", slots=2, capability=CAPABILITY, price=5)
    market.add("cy", slots=2, capability=CAPABILITY, price=4)
    won = market.post("ada", capability=CAPABILITY, price_max=50, expires_in_ms=9_000)
    market.wait(2)
    market.finish("cy", won)
    deliver = market.task("ada", won).deliver
    assert deliver is not None
    market.tell("ada", Judged(won, deliver.id, accepted=True, reason=""))
    market.settle()
    market.wait(10)
    async with NodeStore.open(tmp_path / "bo.sqlite3") as bo, NodeStore.open(tmp_path / "cy") as cy:
        for name, store in (("bo", bo), ("cy", cy)):
            await store.claim_identity(market.traders[name].keys.agent)
            await store.write(market.traders[name].changes)
        now_ms = market.now_ms
        assert await forget(bo, now_ms + OFFERED_KEPT_MS - 60_000) == 0
        assert await forget(bo, now_ms + OFFERED_KEPT_MS) == 1
        assert await bo.role(won) is None
        assert await bo.history(won) == []
        assert await forget(cy, now_ms + FINISHED_KEPT_MS - 60_000) == 0
        assert await role_and_head(cy, won) == ("worker", 3)
        assert await forget(cy, now_ms + FINISHED_KEPT_MS) == 1
        assert await role_and_head(cy, won) == (None, 3)


async def test_a_task_that_is_not_over_is_kept(tmp_path: Path) -> None:
    market = Market()
    market.add("ada")
    market.add("bo", capability=CAPABILITY, price=5)
    task = market.post("ada", capability=CAPABILITY, price=9)
    async with NodeStore.open(tmp_path / "bo.sqlite3") as bo:
        await bo.write(market.traders["bo"].changes)
        assert await forget(bo, market.now_ms + 2 * FINISHED_KEPT_MS) == 0
        assert await bo.role(task) == "worker"


async def role_and_head(store: NodeStore, task: RecordId) -> tuple[str | None, int]:
    return await store.role(task), (await store.head()).seq
