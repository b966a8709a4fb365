"""Relays that share a database, as processes of their own: killed, cut off, started wrongly."""

from pathlib import Path

import pytest
from tests.postgres import Server
from tests.shared_claims import claim_at_random

pytestmark = pytest.mark.xdist_group("heavy")


async def test_claims_are_granted_once_whoever_is_killed(
    postgres_server: Server, tmp_path: Path
) -> None:
    outcome = await claim_at_random(
        postgres_server, tmp_path, processes=3, workers=8, claims=300, kills=1
    )
    assert not outcome.faults, outcome.faults
    assert outcome.kills == 1
    assert outcome.granted == 300
