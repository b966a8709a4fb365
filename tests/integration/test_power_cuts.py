"""What is acknowledged survives a power cut: with every commit synced, and not without that.

``BAZAAR_POWER_CUTS`` says how often the power goes out.
"""

import asyncio
import os
import random
import shutil
import sys
from pathlib import Path

import pytest
from tests.power import Acknowledged, disk_after, entries_of, trace

from bazaar_host.database import Synchronous
from bazaar_protocol.errors import StorageError
from bazaar_protocol.identity import Keypair
from bazaar_relay.storage.sqlite_store import SqliteStore

pytestmark = pytest.mark.slow

CUTS = int(os.environ.get("BAZAAR_POWER_CUTS", "60"))
COMMITS = 400
ADA = Keypair.from_name("ada").agent


async def _lost(folder: Path, synchronous: Synchronous) -> tuple[int, int, int]:
    """Return how many cuts lost what was acknowledged, how many records, and of how many."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    events = await asyncio.to_thread(
        trace, strace, folder, commits=COMMITS, synchronous=synchronous
    )
    assert Acknowledged(COMMITS) in events
    wanted = [raw for raws in entries_of(COMMITS) for raw in raws]
    per_commit = len(wanted) // COMMITS
    chance = random.Random(7)
    cuts_with_loss = records_lost = acknowledged = 0
    for number in range(CUTS):
        until = chance.randrange(len(events) // 20, len(events) + 1)
        before = events[:until]
        promised = max((one.commits for one in before if isinstance(one, Acknowledged)), default=0)
        place = folder / f"after-{number}"
        place.mkdir()
        for name, data in disk_after(before, chance).items():
            (place / name).write_bytes(data)
        kept = await _kept(place / "relay.sqlite3")
        lost = [raw for raw in wanted[: promised * per_commit] if raw not in kept]
        acknowledged += promised * per_commit
        records_lost += len(lost)
        cuts_with_loss += bool(lost)
        shutil.rmtree(place)
    return cuts_with_loss, records_lost, acknowledged


async def _kept(path: Path) -> set[bytes]:
    try:
        async with SqliteStore.open(path, name=bytes(32)) as store:
            last = COMMITS * 10
            return set(await store.log(ADA, first=1, last=last, limit=last))
    except StorageError:
        return set()  # not even a database


@pytest.mark.xdist_group("heavy")
@pytest.mark.timeout(600)
async def test_with_every_commit_synced_nothing_acknowledged_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cuts, records, acknowledged = await _lost(tmp_path / "full", "FULL")
    control_cuts, control_records, of = await _lost(tmp_path / "normal", "NORMAL")
    with capsys.disabled():
        sys.stdout.write(
            f"\nFULL: {records} of {acknowledged} acknowledged records lost in {CUTS} power cuts; "
            f"NORMAL: {control_records} of {of}, in {control_cuts} of them\n"
        )
    assert (cuts, records) == (0, 0)
    assert control_records > 0, "else this test would find no loss"
