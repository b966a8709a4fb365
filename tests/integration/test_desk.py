"""What an owner asks of a running node, at the same time or by mistake, harms it in no way."""

import asyncio
from pathlib import Path

import pytest
from tests.integration.test_trades import Pair, pair, relay  # noqa: F401

from bazaar_node import Node, OfferRequest, PostRequest
from bazaar_protocol.errors import BazaarError, ConfigError

pytestmark = pytest.mark.xdist_group("heavy")


async def test_posts_at_once_under_one_key_are_one_task(pair: Pair) -> None:  # noqa: F811
    request = PostRequest(
        capability="text.count", input=b"a b c", price=9, idempotency_key="only-once"
    )
    others = [PostRequest(capability="text.count", input=b"x", price=9) for _ in range(5)]
    posting = [pair.ada.post(one) for one in (request, *others, request, request)]
    tasks = await asyncio.gather(*posting)
    assert len(set(tasks)) == 1 + len(others)
    assert len({tasks[0], tasks[-2], tasks[-1]}) == 1


@pytest.mark.parametrize("capability", ["Not A Name", "", "x" * 200])
async def test_an_offer_that_no_advert_can_carry_is_refused(
    pair: Pair,  # noqa: F811
    capability: str,
) -> None:
    with pytest.raises(ConfigError):
        await pair.bo.offer(OfferRequest(capability=capability))
    await still_trades(pair)


async def test_more_offers_than_one_advert_can_carry_are_refused(pair: Pair) -> None:  # noqa: F811
    schema = b'{"description": "' + b"x" * 16_000 + b'"}'
    for number in range(3):
        await pair.bo.offer(OfferRequest(capability=f"big.{number}", input_schema=schema))
    with pytest.raises(ConfigError):
        await pair.bo.offer(
            OfferRequest(capability="big.3", input_schema=schema, output_schema=schema)
        )
    await still_trades(pair)


async def test_a_node_with_such_an_offer_in_its_settings_says_so(tmp_path: Path) -> None:
    node = Node(tmp_path / "cy")

    @node.offer("Not A Name")
    async def handler(task: object) -> object:
        return task

    with pytest.raises(BazaarError, match="advert"):
        async with node.open():
            await asyncio.sleep(0)


async def still_trades(pair: Pair) -> None:  # noqa: F811
    await asyncio.sleep(0.4)  # an advert is signed a moment after an offer
    assert await pair.trade(capability="text.count", input=b"one", price=9) == b'{"words":1}'
