"""Every benchmark runs: small, in a process of its own, and with figures in its file."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from tests.benchmarks.__main__ import SUBJECTS


@pytest.mark.xdist_group("heavy")
@pytest.mark.timeout(240)
async def test_a_quick_run_measures_everything(tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks", "--quick", "--json", str(figures),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(220):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    table = out.decode()
    assert all(subject in table for subject in SUBJECTS)
    rows = json.loads(figures.read_text())["rows"]
    for row in rows:
        assert row["figure"] is not None
        assert row["goal"] == "" or row["is_met"] is not None
    names = " ".join(row["name"] for row in rows)
    for what in (
        "intake, libp2p", "fan-out to 1 ", "claim + complete", "accepted, 8 at a time",
        "10 bids", "chain", "catch-up", "tax of auction", "link: 256", "node: idle", "world: idle",
        "capability query", "beside a flood", "nodes connected",
    ):  # fmt: skip
        assert what in names
