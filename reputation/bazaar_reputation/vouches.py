"""Who answers for whom: an agent may vouch for three others, and shares in what they do badly."""

from collections.abc import Mapping
from typing import Final

from bazaar_protocol.limits import VOUCHES_COUNTED_MAX

FAILURES_SHARED: Final = 0.25
"""Which part of the bad evidence about the vouched also counts against the voucher."""

WEIGHT_LEAST: Final = 0.1
"""A voucher that weighs less lifts nobody."""


class Vouches:
    """What every log says about whom its author vouches for. Agents are numbers here."""

    __slots__ = ("_outstanding", "_said")

    def __init__(self) -> None:
        # All that was ever said, and not the newest only: a log may turn out to end before that.
        self._said: dict[int, dict[int, dict[int, bool]]] = {}
        self._outstanding: dict[tuple[int, int | None], tuple[int, ...]] = {}

    def note(self, voucher: int, seq: int, agent: int, *, is_withdrawn: bool) -> None:
        """Note what entry ``seq`` of the voucher's log says about ``agent``."""
        words = self._said.setdefault(voucher, {}).setdefault(agent, {})
        # Of two entries for one place that contradict each other, the one that takes back counts.
        words[seq] = is_withdrawn or words.get(seq, False)
        self._outstanding.clear()

    def outstanding(self, voucher: int, last_seq: int | None) -> tuple[int, ...]:
        """Return for whom a log still answers, the oldest vouches first, no more than count.

        Args:
            voucher: Whose log.
            last_seq: Where that log ends, if it was ended.

        """
        said = self._said.get(voucher)
        if said is None:
            return ()
        key = voucher, last_seq
        if key not in self._outstanding:
            self._outstanding[key] = _first_outstanding(said, last_seq)
        return self._outstanding[key]


def _first_outstanding(
    said: Mapping[int, Mapping[int, bool]], last_seq: int | None
) -> tuple[int, ...]:
    standing: list[tuple[int, int]] = []
    for agent, words in said.items():
        newest = max((seq for seq in words if last_seq is None or seq <= last_seq), default=0)
        if newest and not words[newest]:
            standing.append((newest, agent))
    return tuple(agent for _, agent in sorted(standing)[:VOUCHES_COUNTED_MAX])
