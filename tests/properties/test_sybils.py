"""Whatever strangers sign, what a node makes of it is bounded by how its walk gets to them.

The same as ``test_bound``, with true records: through contracts, findings and sums in the node's
store, to the score. The honest trade among themselves and with strangers, which is given. Then the
strangers sign what they like on top: contracts among themselves, awards that nobody accepted,
verdicts, reveals, breaches and silences about others' work, disputes, vouches, stamps, resets,
forks of their own logs, and ends of their names that make an honest agent their heir.

Nothing of it may move the evidence about anybody by more than 4 · 20 · the probability that ego's
walk steps to a stranger, except what one signs against oneself. Red when a name is carried on by
who has not agreed, when an opened canary counts whoever the poster, when anybody can accept for a
worker, and when a rater's word does not saturate.
"""

import random
import tempfile
from collections.abc import Collection
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, event, given, settings, strategies as st
from tests.evidence_records import keep, opened, shuffled
from tests.reputation_records import Party
from tests.sybils import Siege

from bazaar_protocol import limits
from bazaar_reputation.book import Book
from bazaar_reputation.credibility import Trust
from bazaar_reputation.findings import Role
from bazaar_reputation.scores import Scorer
from bazaar_reputation.testimony import Question
from bazaar_reputation.walk import RESTART

SATURATION, FULL_WEIGHT = 4.0, 20.0
EXACT = 1e-13
TOLERANCE = 1e-6
STEPS = 120


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    honest=st.integers(1, 5), strangers=st.integers(1, 5), deals=st.integers(0, 24),
    deeds=st.integers(1, 14), seed=st.integers(0, 2**32),
)  # fmt: skip
async def test_strangers_move_nobody_by_more_than_the_walk_gives_them(
    honest: int, strangers: int, deals: int, deeds: int, seed: int
) -> None:
    with mock.patch.object(limits, "STAMP_BITS_MIN", 4), tempfile.TemporaryDirectory() as folder:
        siege = Siege(random.Random(seed), honest, strangers)
        siege.trade(max(deals, honest > 1))
        async with opened(Path(folder) / "before", siege.honest[0].keys) as store:
            await keep(store, siege.real)
            before = Seen(store.book, siege)
        siege.lie(deeds)
        given = shuffled([*siege.real, *siege.lies], siege.chance.randrange)
        async with opened(Path(folder) / "after", siege.honest[0].keys) as store:
            await keep(store, given)
            _compare(siege, before, Seen(store.book, siege))


class Seen:
    """What ego makes of a book."""

    def __init__(self, book: Book, siege: Siege) -> None:
        self._scorer = Scorer(book, siege.honest[0].agent, epsilon=EXACT)
        self.p_in = crossing(book, siege.honest[0], siege.strangers)
        everybody = (*siege.honest, *siege.strangers)
        roles: tuple[Role, ...] = ("worker", "poster")
        self.evidence = {
            (one.name, role): self._scorer.evidence(one.agent, Question(role))
            for one in everybody
            for role in roles
        }


def _compare(siege: Siege, before: Seen, after: Seen) -> None:
    p_in = max(before.p_in, after.p_in)
    bound = SATURATION * FULL_WEIGHT * p_in * (1 + TOLERANCE) + TOLERANCE
    honest = {one.name for one in siege.honest}
    most = 0.0
    for (name, role), (good, bad) in after.evidence.items():
        good_before, bad_before = before.evidence[name, role]
        if name in honest:
            assert abs(good - good_before) <= bound, (name, role, good_before, good, bound)
            assert abs(bad - bad_before) <= bound, (name, role, bad_before, bad, bound)
            most = max(most, abs(good - good_before), abs(bad - bad_before))
        else:
            assert good <= good_before + bound, (name, role, good_before, good, bound)
            if not siege.has_denied:
                assert bad >= bad_before - bound, (name, role, bad_before, bad, bound)
    event("nobody can go to a stranger" if p_in == 0 else "some can")
    event(f"moved by {10 * most / bound:.0f} tenths of the bound" if p_in else "nothing moved")


def crossing(book: Book, ego: Party, strangers: Collection[Party]) -> float:
    """Return how likely ego's walk ever steps to a stranger."""
    start, trust = book.enter(ego.agent), Trust(book, book.enter(ego.agent))
    others = {book.enter(one.agent) for one in strangers}
    crossed, waiting = 0.0, {start: 1.0}
    for _ in range(STEPS):
        there: dict[int, float] = {}
        for agent, share in waiting.items():
            for neighbour, probability in trust.row(agent):
                step = (1 - RESTART) * share * probability
                if neighbour in others:
                    crossed += step
                else:
                    there[neighbour] = there.get(neighbour, 0.0) + step
        waiting = there
    return crossed
