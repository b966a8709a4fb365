"""In which order what waits is worked on: fair to identities, by how much work theirs is.

Deficit round robin: an identity's turn lasts for a quantum of records, so who sends frames of
hundreds does not get more than who sends single ones. The links of one identity share its turn. Of
two classes, those who are known here go first, and strangers have every eighth turn at least.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
L = TypeVar("L", bound=Hashable)

QUANTUM: Final = 32
STRANGERS_TURN: Final = 8


@dataclass(slots=True)
class _Line(Generic[L]):
    waiting: dict[L, deque[int]] = field(default_factory=dict)
    """For each link what its frames cost, in order; the link whose turn it is comes first."""
    credit: int = 0

    @property
    def next_cost(self) -> int:
        return next(iter(self.waiting.values()))[0]

    def take(self) -> L:
        link = next(iter(self.waiting))
        costs = self.waiting.pop(link)
        self.credit -= costs.popleft()
        if costs:
            self.waiting[link] = costs
        return link


class FairLine(Generic[K, L]):
    """Lines of identities, each with its links."""

    def __init__(self) -> None:
        self._lines: OrderedDict[K, _Line[L]] = OrderedDict()
        """The line whose turn it is comes first."""

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, who: K, link: L, cost: int) -> None:
        """Line up one frame of a link."""
        line = self._lines.get(who)
        if line is None:
            line = self._lines[who] = _Line(credit=QUANTUM)
        line.waiting.setdefault(link, deque()).append(cost)

    def take(self) -> L:
        """Return the link whose next frame is to be worked on; something has to be waiting."""
        while True:
            who, line = next(iter(self._lines.items()))
            if line.credit < line.next_cost:
                line.credit += QUANTUM
                self._lines.move_to_end(who)
                continue
            link = line.take()
            if not line.waiting:
                del self._lines[who]  # and its credit: who waits for nothing saves nothing up
            return link

    def forget(self, who: K, link: L) -> None:
        """Leave out what a link still wanted."""
        line = self._lines.get(who)
        if line is None:
            return
        line.waiting.pop(link, None)
        if not line.waiting:
            del self._lines[who]


class TwoClasses(Generic[K, L]):
    """A fair line for those who are known, and one for strangers."""

    def __init__(self) -> None:
        self._known: FairLine[K, L] = FairLine()
        self._strangers: FairLine[K, L] = FairLine()
        self._since_strangers = 0

    def __len__(self) -> int:
        return len(self._known) + len(self._strangers)

    def put(self, who: K, link: L, cost: int, *, is_stranger: bool) -> None:
        """Line up one frame of a link, which stays among the strangers while it waits there."""
        (self._strangers if is_stranger else self._known).put(who, link, cost)

    def take(self) -> L:
        """Return the link whose next frame is to be worked on; something has to be waiting."""
        is_their_turn = self._since_strangers >= STRANGERS_TURN - 1 or not self._known
        if self._strangers and is_their_turn:
            self._since_strangers = 0
            return self._strangers.take()
        self._since_strangers += 1
        return self._known.take()

    def forget(self, who: K, link: L) -> None:
        """Leave out what a link still wanted."""
        self._known.forget(who, link)
        self._strangers.forget(who, link)
