"""The same records make the same evidence to the last bit, in whatever order and however often.

Red when a child is not attached once its parent comes, when a strand is not folded again for a
finding out of order, when ``unsettled`` is not asked again, and when heads are read too early.
"""

import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies as st
from tests.evidence_records import EGO, OUTCOMES, history, keep, opened, shuffled, state

from bazaar_node.trust.rebuilding import rebuild
from bazaar_protocol.identity import Keypair
from bazaar_reputation.contracts import findings
from bazaar_reputation.gathering import gather

AGENTS = [Keypair.from_name(name).agent for name in ("ada", "bo", "cy", "dee", "r1", "r2")]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(OUTCOMES), max_size=9), st.booleans(), st.integers(0, 2**32))
async def test_order_repetition_and_restarts_change_nothing(
    outcomes: list[str], has_fork: bool, seed: int
) -> None:
    rng = random.Random(seed)
    given = history(outcomes, has_fork=has_fork)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        async with opened(Path(one)) as store:
            await keep(store, given)
            expected = await state(store)
            scores = [store.scorer.score(agent) for agent in AGENTS]
        mixed = shuffled(given + rng.sample(given, len(given) // 3), rng.randrange)
        while mixed:
            async with opened(Path(other)) as store:
                for _ in range(3):
                    size = rng.randint(1, 20)
                    await keep(store, mixed[:size])
                    mixed = mixed[size:]
        async with opened(Path(other)) as store:
            assert await state(store) == expected
            assert [store.scorer.score(agent) for agent in AGENTS] == scores
            await rebuild(store)
            assert await state(store) == expected
            assert [store.scorer.score(agent) for agent in AGENTS] == scores


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(OUTCOMES), max_size=9), st.integers(0, 2**32))
async def test_findings_are_those_of_the_contracts(outcomes: list[str], seed: int) -> None:
    given = history(outcomes)  # type: ignore[arg-type]
    heads = {record.author: 0 for record in given}
    for record in given:
        heads[record.author] = max(heads[record.author], record.seq)
    contracts = gather(given).values()
    expected = {one for made in contracts for one in findings(made, heads.__getitem__)}
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder), EGO) as store:
            await keep(store, shuffled(given, random.Random(seed).randrange))
            assert (await state(store)).findings == expected
