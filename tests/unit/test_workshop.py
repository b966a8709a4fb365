"""Whatever a Python function does with a task, its attempt ends, and the node does not."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.market_records import Trader

from bazaar_host.clock import SteadyClock
from bazaar_node.driver import Driver
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_offer, draft_post
from bazaar_node.market.events import StartWork, WorkDone, WorkFailed
from bazaar_node.service import OfferRequest, PostRequest
from bazaar_node.storage.blobs import BlobStore
from bazaar_node.storage.store import NodeStore
from bazaar_node.work.schemas import SchemaChecker
from bazaar_node.work.workshop import Handler, Outcome, Task, Workshop
from bazaar_protocol import limits

OFFER = draft_offer(OfferRequest(capability="a.b"))
INPUT = b"in"


class Scene:
    def __init__(self, workshop: Workshop, action: StartWork) -> None:
        self.workshop = workshop
        self.action = action

    async def work(self, handler: Handler) -> Outcome | None:
        self.workshop.handlers[OFFER.capability] = handler
        return await self.workshop.work(self.action)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncGenerator[Scene]:
    async with NodeStore.open(tmp_path / "node.sqlite3") as store, SchemaChecker() as schemas:

        async def build() -> Agent:
            raise AssertionError("nobody asks for it here")

        driver = Driver(store, build, SteadyClock())
        blobs = BlobStore(tmp_path / "blobs", limits.MIB)
        await blobs.put(INPUT)
        ada = Trader.named("ada")
        request = PostRequest(capability="a.b", input=INPUT)
        body = draft_post(request, poster=ada.agent, relay=None, addresses=(), nonce="1")
        post = ada.say(body)
        workshop = Workshop(driver, blobs, schemas, tmp_path / "work")
        yield Scene(workshop, StartWork(post.id, 1, post, OFFER))


@pytest.mark.parametrize("result", [object(), {object(): 1}, "half \ud800", 1j])
async def test_a_result_that_cannot_be_written_fails_the_attempt(
    scene: Scene, result: object
) -> None:
    async def handler(task: Task) -> object:
        return result

    assert isinstance(await scene.work(handler), WorkFailed)


async def test_a_result_that_refers_to_itself_fails_the_attempt(scene: Scene) -> None:
    async def handler(task: Task) -> object:
        endless: list[object] = []
        endless.append(endless)
        return endless

    assert isinstance(await scene.work(handler), WorkFailed)


async def test_a_function_that_leaves_the_program_fails_the_attempt_alone(scene: Scene) -> None:
    async def handler(task: Task) -> object:
        sys.exit(3)

    outcome = await scene.work(handler)
    assert isinstance(outcome, WorkFailed)
    assert "SystemExit" in outcome.reason


async def test_a_function_that_is_cancelled_from_within_fails_the_attempt(scene: Scene) -> None:
    async def handler(task: Task) -> object:
        inner = asyncio.create_task(asyncio.sleep(60))
        inner.cancel()
        await inner
        return None

    assert isinstance(await scene.work(handler), WorkFailed)


async def test_a_lost_lease_cancels_the_function(scene: Scene) -> None:
    began = asyncio.Event()

    async def handler(task: Task) -> object:
        began.set()
        await asyncio.sleep(60)
        return None

    working = asyncio.create_task(scene.work(handler))
    await began.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_progress_is_a_whole_number_whatever_the_function_says(scene: Scene) -> None:
    async def handler(task: Task) -> object:
        task.progress(33.4, ValueError("odd"))  # type: ignore[arg-type]
        return None

    outcome = await scene.work(handler)
    assert isinstance(outcome, WorkDone)
    assert outcome.data == b"null"
    progressed = scene.workshop._driver._queue.popleft().event
    assert (progressed.percent, progressed.note) == (33, "odd")  # type: ignore[union-attr]


async def test_a_result_larger_than_any_may_be_fails_the_attempt(scene: Scene) -> None:
    async def handler(task: Task) -> object:
        return bytes(limits.RESULT_BYTES_MAX + 1)

    outcome = await scene.work(handler)
    assert isinstance(outcome, WorkFailed)
    assert "exceed the limit" in outcome.reason
