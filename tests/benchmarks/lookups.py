"""How fast a relay finds who offers a capability, among very many adverts."""

import math
import random
import time
from collections.abc import Callable
from typing import Final

from tests.benchmarks.measuring import Bench, Row, Sample, at_most, interleave, percentile, row
from tests.benchmarks.publishing import new_author

from bazaar_protocol.frames import Query
from bazaar_protocol.kinds import Advert
from bazaar_relay.machine.adverts import Adverts

ADVERTS: Final = 100_000
FEW: Final = 1_000
"""So that each of the capabilities is offered."""
QUERIES: Final = 2_000
PAGE: Final = 20
_MS: Final = 1_000
_FIELDS: Final = ("pdf", "text", "image", "audio", "code", "data", "web", "math", "law", "bio")
_NOTE: Final = (
    f"adverts of one agent each, 10 x 10 x 10 capabilities; pages of {PAGE}; whole capabilities "
    "and their beginnings (which a tenth of all offer) in turn; in the relay's machine, as it is "
    "in memory"
)


async def run(bench: Bench) -> list[Row]:
    """Measure searches by capability, and by capability and words."""
    count, queries = bench.count(ADVERTS, 2 * FEW), bench.count(QUERIES, 50)
    few, many = _filled(FEW), _filled(count)

    async def by_capability(adverts: Adverts) -> Sample:
        return _p99(adverts, queries, lambda name: Query(1, name, "", "", PAGE))

    async def by_words(adverts: Adverts) -> Sample:
        return _p99(adverts, queries // 20, lambda name: Query(1, name, "careful table", "", PAGE))

    samples = await interleave(
        bench.rounds,
        {
            "few": lambda: by_capability(few),
            "many": lambda: by_capability(many),
            "words": lambda: by_words(many),
        },
    )
    return [
        row(f"capability query over {FEW:,} adverts: p99", "ms", samples["few"],
            note=_NOTE),
        row(f"capability query over {count:,} adverts: p99", "ms", samples["many"],
            goal=at_most(1, "figure")),
        row(f"capability and two words, {count:,} adverts: p99", "ms", samples["words"],
            note="words that a tenth of all have; what it looks at counts as records of the asker"),
    ]  # fmt: skip


def _names(number: int) -> tuple[str, str]:
    fields = len(_FIELDS)
    first, second, third = number % fields, number // fields % fields, number // fields**2 % fields
    return _FIELDS[first], f"{_FIELDS[first]}.{_FIELDS[second]}.{_FIELDS[third]}"


def _filled(count: int) -> Adverts:
    adverts = Adverts()
    for number in range(count):
        words = ("careful", "fast", "cheap", "table", "long")[number % 5]
        record = new_author().advert(_names(number)[1], words=f"{words} work number {number}")
        assert isinstance(record.body, Advert)
        adverts.put(record, record.body)
    return adverts


def _p99(adverts: Adverts, queries: int, query: Callable[[str], Query]) -> Sample:
    chance = random.Random(7)
    times: list[float] = []
    for _ in range(queries):
        asked = query(chance.choice(_names(chance.randrange(FEW))))
        began = time.perf_counter()
        found, _after = adverts.search(asked)
        times.append(_MS * (time.perf_counter() - began))
        assert found or asked.words, asked
    return Sample(percentile(times, 0.99), math.nan)
