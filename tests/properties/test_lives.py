"""What a node makes of records is the same to the last digit, however it came to hold them.

Whole lives: trades, vouches and their withdrawals, forks with and without a proof, resets, stamps,
successions with and without the heir's consent. In any order, again, over restarts, out of a
file of another node, and after a rebuild. Red when of two ends of an identity the first to come
holds, when an heir's word counts only if it comes in time, and when of two vouches in one place the
newer to come counts.
"""

import random
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings, strategies as st
from tests.evidence_records import State, keep, opened, shuffled, state
from tests.lives import HEIRS, NAMES, Lives

from bazaar_node.trust import exchange
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.rebuilding import rebuild
from bazaar_protocol import limits
from bazaar_protocol.identity import Keypair

AGENTS = [Keypair.from_name(name).agent for name in (*NAMES, *HEIRS)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 45), st.integers(0, 2**32))
async def test_however_records_come_the_digits_are_the_same(deeds: int, seed: int) -> None:
    with mock.patch.object(limits, "STAMP_BITS_MIN", 4), tempfile.TemporaryDirectory() as folder:
        await _compare(Path(folder), deeds, random.Random(seed))


async def _compare(folder: Path, deeds: int, chance: random.Random) -> None:
    given = Lives(chance).live(deeds)
    async with opened(folder / "one") as store:
        await keep(store, given)
        expected = await _all(store)
        await exchange.export(store, folder / "file")
    mixed = shuffled([*given, *chance.sample(given, len(given) // 4)], chance.randrange)
    while mixed:
        async with opened(folder / "other") as store:
            for _ in range(3):
                size = chance.randint(1, 40)
                await keep(store, mixed[:size])
                mixed = mixed[size:]
            before = await _all(store)
        async with opened(folder / "other") as store:
            assert await _all(store) == before, "a restart changed something"
    async with opened(folder / "other") as store:
        assert await _all(store) == expected
        await rebuild(store)
        assert await _all(store) == expected
    async with opened(folder / "third") as store:
        imported = await exchange.import_file(store, folder / "file")
        assert imported.refused == 0
        assert await _all(store) == expected


async def _all(store: EvidenceStore) -> tuple[State, list[str]]:
    scorer, digits = store.scorer, list[str]()
    for agent in AGENTS:
        digits.append(repr(scorer.weight(agent)))
        digits.append(repr(scorer.score(agent)))
        digits.append(repr(scorer.score(agent, "poster")))
        digits.append(repr(scorer.parts(agent, capability="pdf.extract")))
    return await state(store), digits
