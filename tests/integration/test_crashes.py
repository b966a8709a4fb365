"""What was acknowledged survives kill -9, and every task ends; the long run is ``make soak``."""

import random
from pathlib import Path

import pytest
from tests.crashes import crash_at_random
from tests.town import show, town

pytestmark = [pytest.mark.xdist_group("heavy"), pytest.mark.slow]

KILLS = 6


async def test_random_kills_lose_nothing(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    show(f"seed {seed}")  # the kills come in this order, if not at the very same moments
    async with town(tmp_path) as it:
        report = await crash_at_random(it, kills=KILLS, seed=seed)
        show(str(report), *report.faults)
        assert report.faults == []
        assert report.kills.total() >= KILLS
        assert report.acknowledged > 100
        assert report.outcomes["accepted"] > 0
        assert set(report.outcomes) == {"accepted"}
