"""What we do for posters that have never accepted a result of ours: work on credit.

A new poster deserves a first result, and some take results and never judge them, or reject all of
them. So what such posters hold of ours at a time is counted together, however many they are: an
identity costs nothing.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import State, Task

FORGOTTEN_MS: Final = 7 * limits.DAY_MS
"""A result that came to nothing is forgiven after this time, so that nobody stays shut out."""
SHARE: Final = 20
"""One more result is given on credit for so many that were accepted."""
FAIR_KEPT: Final = 4_096
UNPAID_KEPT: Final = 4_096

_UNDER_WAY: Final = frozenset({State.RUNNING, State.DELIVERED})
_UNPAID: Final = frozenset({State.REJECTED, State.LAPSED})


@dataclass(frozen=True, slots=True)
class Unpaid:
    """A result of ours that was not accepted."""

    task: RecordId
    poster: AgentId
    ended_ms: int


class Credit:
    """Who has accepted results of ours, and what others hold of ours.

    Args:
        fair: Posters that have accepted one at least.
        accepted: How many were accepted in all.
        unpaid: The results that came to nothing, oldest first.

    """

    def __init__(
        self, fair: Iterable[AgentId] = (), *, accepted: int = 0, unpaid: Iterable[Unpaid] = ()
    ) -> None:
        self.accepted = accepted
        self._fair: OrderedDict[AgentId, None] = OrderedDict.fromkeys(fair)
        self._held: dict[RecordId, AgentId] = {}
        self._ended: deque[Unpaid] = deque()
        for one in unpaid:
            if one.poster not in self._fair:
                self._end(one)

    @property
    def held(self) -> int:
        """Return how many results of ours, or jobs for them, are with posters that were never fair.

        Those that came to nothing count until they are forgiven.
        """
        return len(self._held)

    @property
    def earned(self) -> int:
        """Return how many results those that were accepted allow to give on credit."""
        return self.accepted // SHARE

    @property
    def slack(self) -> int:
        """Return what the credit grows by when something is accepted or forgiven."""
        return self.earned - len(self._held)

    def is_fair(self, poster: AgentId) -> bool:
        """Tell whether ``poster`` has accepted a result of ours."""
        return poster in self._fair

    def note(self, task: Task, now_ms: int, *, is_ours: bool) -> None:
        """Take note of how a task stands; ``is_ours`` tells whether we have it."""
        if task.state is State.ACCEPTED and is_ours:
            self._be_content(task.poster)
        elif is_ours and task.poster not in self._fair and task.state in _UNPAID:
            self._end(Unpaid(task.id, task.poster, now_ms))
        elif is_ours and task.poster not in self._fair and task.state in _UNDER_WAY:
            self._held[task.id] = task.poster
        else:
            self.release(task.id)

    def release(self, task: RecordId) -> None:
        """Take note that the poster of a task has nothing of ours for it."""
        self._held.pop(task, None)

    def forgive(self, now_ms: int) -> None:
        """Forget what came to nothing long ago."""
        while self._ended and self._ended[0].ended_ms <= now_ms - FORGOTTEN_MS:
            self._held.pop(self._ended.popleft().task, None)

    def _be_content(self, poster: AgentId) -> None:
        self.accepted += 1
        self._fair[poster] = None
        self._fair.move_to_end(poster)
        if len(self._fair) > FAIR_KEPT:
            self._fair.popitem(last=False)
        for task in [task for task, holder in self._held.items() if holder == poster]:
            del self._held[task]

    def _end(self, one: Unpaid) -> None:
        self._held[one.task] = one.poster
        self._ended.append(one)
        if len(self._ended) > UNPAID_KEPT:
            self._held.pop(self._ended.popleft().task, None)
