"""A flood of made-up identities does not blind those who look for honest work.

``BAZAAR_FLOOD_IDENTITIES`` and ``BAZAAR_FLOOD_POSTS`` say how large it is; ``make soak`` has ten
thousand identities with a hundred posts each.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from tests.flooding import flood_of
from tests.honest import connect, show_work
from tests.market_records import Trader
from tests.processes import relay_up
from tests.relay_client import Client

from bazaar_protocol.frames import Filter

IDENTITIES = int(os.environ.get("BAZAAR_FLOOD_IDENTITIES", "400"))
POSTS = int(os.environ.get("BAZAAR_FLOOD_POSTS", "25"))
HONEST = 5
POSTS_EACH = 40
FLOOD_S = float(os.environ.get("BAZAAR_FLOOD_S", "4"))
"""Over so long the honest post what they have."""
SEEN_S = 20.0
_PUBLIC = """[relay]
pow_bits = 10
newcomer_percent = 10
records_per_s = 200
bytes_per_day = 268435456
open_posts = 4096
"""


class Seeker:
    """Looks for posts of one capability, and takes down the ids of those it is shown."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: dict[bytes, None] = {}

    async def look(self) -> None:
        """Take down all that comes, for ever."""
        while True:
            with suppress(TimeoutError):  # nothing came for a while
                self.seen[(await self.client.event()).record] = None
            self.seen |= dict.fromkeys(self.client.drain())

    async def has_seen(self, raws: set[bytes]) -> bool:
        """Tell whether it has been shown all of them within ``SEEN_S``."""
        try:
            async with asyncio.timeout(SEEN_S):
                while not raws <= self.seen.keys():  # noqa: ASYNC110 - it takes down what comes
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return False
        return True


@pytest.mark.slow
@pytest.mark.xdist_group("heavy")
@pytest.mark.timeout(900)
async def test_honest_posts_are_seen_beside_a_flood_of_the_same_capability(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "relay"
    home.mkdir(mode=0o700)
    (home / "bazaar.toml").write_text(_PUBLIC)
    async with relay_up(home) as relay, AsyncExitStack() as stack:
        posters = [await connect(stack, relay.address, f"honest {n}") for n in range(HONEST)]
        for client, trader in posters:
            await show_work(client, trader, relay.address)
            assert await client.publish(trader.genesis()) == ("accepted",)
        listening, _ = await connect(stack, relay.address, "seeker")
        await listening.subscribe(Filter(kinds=("post",), capability="copy"))
        seeker = Seeker(listening)
        looking = asyncio.create_task(seeker.look())
        stack.callback(looking.cancel)
        options = ("--posts", str(POSTS), "--seconds", "1", "--capability", "copy")
        async with flood_of(relay.address, IDENTITIES, *options) as flood:
            honest = set().union(*await asyncio.gather(*map(_post, posters)))
            await seeker.has_seen(honest)
        share = len(honest & seeker.seen.keys()) / (HONEST * POSTS_EACH)
        with capsys.disabled():
            sys.stdout.write(
                f"\n{100 * share:.1f} % of {HONEST * POSTS_EACH} honest posts seen beside a flood "
                f"of {IDENTITIES} identities in {flood.took_s:.1f} s: {dict(flood.statuses)}\n"
            )
        assert await relay.stop() == 0
    assert share >= 0.99
    assert flood.statuses.total() > 0
    assert len(seeker.seen) - len(honest) <= 10 * (flood.took_s + 10), "work keeps the flood out"


async def _post(poster: tuple[Client, Trader]) -> set[bytes]:
    """Publish posts one by one; return those that were taken."""
    client, trader = poster
    taken: set[bytes] = set()
    for number in range(POSTS_EACH):
        post = trader.post(capability="copy", title=f"honest {number}")
        if await client.publish(post) == ("accepted",):
            taken.add(post.raw)
        await asyncio.sleep(FLOOD_S / POSTS_EACH)
    return taken
