"""Four hostile relays of five against real nodes: trade goes on, and what can be proved is."""

import asyncio
import math
import random
import sqlite3
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from tests.hostile_sites import OnSockets, ground, serving
from tests.relay_client import Client
from tests.town import TERMINAL, Site, raw_client, town, until

from bazaar_node.settings import NodeSettings
from bazaar_protocol import limits
from bazaar_protocol.evidence import check_omission
from bazaar_protocol.evidence_kinds import Omission, Proof
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import check_proof
from bazaar_protocol.records import unseal
from bazaar_simulations.world.adversaries.relays import (
    Equivocator,
    Replayer,
    Tamperer,
    Withholder,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("heavy"), pytest.mark.timeout(300)]

PROVED_S = 40.0
RECEIPT_S = 100.0  # nodes ask for one each minute


class Withholding(OnSockets, Withholder):
    honest_s = math.inf  # until it is told otherwise


class Tampering(OnSockets, Tamperer):
    honest_s = 0.0


class Replaying(OnSockets, Replayer):
    honest_s = 0.0


class Equivocating(OnSockets, Equivocator):
    honest_s = 0.0
    face_s = 5.0


def kept_by(home: Path) -> list[bytes]:
    """Return every record that a node has kept, from whatever table."""
    path = NodeSettings(home=home).database_path
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        tables = ("log", "record", "evidence", "witnessed")
        return [raw for table in tables for (raw,) in db.execute(f"SELECT raw FROM {table}")]


def receipts_of(home: Path, relay: AgentId) -> int:
    """Return up to which entry a node holds a receipt of a relay; 0 for none."""
    path = NodeSettings(home=home).database_path
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        row = db.execute("SELECT seq FROM receipt WHERE relay = ?", (relay,)).fetchone()
        return int(row[0]) if row else 0


async def trade(ada: Site, times: int) -> None:
    for _ in range(times):
        task = await ada.post("word.find", price=5)
        over = await ada.reached(task.id, *TERMINAL, timeout_s=60)
        assert over.task.state == "accepted"


async def omission(reader: Client, relay: AgentId) -> Omission:
    """Wait until the honest relay was told of an omission of ``relay``."""
    deadline = time.monotonic() + PROVED_S
    while time.monotonic() < deadline:
        await reader.subscribe(Filter(kinds=("omission",)))
        for record in map(unseal, reader.drain()):
            assert isinstance(record.body, Omission)
            if check_omission(record.body) == relay:
                return record.body
        await asyncio.sleep(0.5)
    raise AssertionError("nobody has proved what it left out")


async def proofs(reader: Client) -> list[Proof]:
    await reader.subscribe(Filter(kinds=("proof",)))
    found = [unseal(raw).body for raw in reader.drain()]
    return [body for body in found if isinstance(body, Proof)]


async def test_four_hostile_relays_of_five_harm_no_trade_and_forge_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Its receipts come soon; nodes ask for them as seldom as always.
    monkeypatch.setattr(limits, "INTAKE_AFTER_MS", 300)
    base = ground(random.SystemRandom().randrange(2**32))
    withholder = Withholding(base, "withholder")
    tamperer, replayer = Tampering(base, "tamperer"), Replaying(base, "replayer")
    hostile = [withholder, tamperer, replayer, Equivocating(base, "equivocator")]
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(serving(relay)) for relay in hostile]
        it = await stack.enter_async_context(town(tmp_path))
        await it.relay("honest")
        others = [part for address in addresses for part in ("--relay", address)]
        offer = ("--offer", "word.find", "--exec", "echo 1", "--slots", "2")
        ada = await it.node("ada", *others)
        bo = await it.node("bo", *others, *offer)
        await trade(ada, 3)
        withholder.honest_s = 0.0
        await trade(ada, 2)  # what it will hide
        relay = withholder.keys.agent
        await until(lambda: receipts_of(ada.home, relay), lambda seq: seq > 6, timeout_s=RECEIPT_S)
        withholder.hang_up()
        await trade(ada, 3)
        async with raw_client(it.address, "reader") as reader:
            await omission(reader, relay)
            accused = {check_proof(body) for body in await proofs(reader)}
            assert accused <= {one.keys.agent for one in hostile}
        assert bo.is_up
        for site in (ada, bo):
            status, _ = await site.stop()
            assert status == 0
            for raw in kept_by(site.home):
                unseal(raw)
        assert tamperer.forged >= 5
        assert replayer.replayed >= 5
