"""What others hold of ours right now: our tasks, and results that they have not judged."""

from collections import Counter
from typing import Literal

from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import LIVE, State, Task

Role = Literal["poster", "worker"]


class Exposure:
    """Sums over the tasks that are under way, kept up as these change."""

    def __init__(self) -> None:
        self._shares: dict[RecordId, tuple[Role, AgentId, int]] = {}
        self._sums: Counter[tuple[Role, AgentId]] = Counter()

    def given_to(self, worker: AgentId) -> int:
        """Return the ceilings of our tasks that ``worker`` holds, together."""
        return self._sums["poster", worker]

    def owed_by(self, poster: AgentId) -> int:
        """Return how many results of ours ``poster`` has not judged."""
        return self._sums["worker", poster]

    def note(self, task: Task, role: Role) -> None:
        """Take note of how a task stands in which we are ``role``."""
        self.forget(task.id)
        agent, amount = _share(task, role)
        if agent is not None:
            self._shares[task.id] = role, agent, amount
            self._sums[role, agent] += amount

    def forget(self, task: RecordId) -> None:
        """Count a task no more."""
        share = self._shares.pop(task, None)
        if share is not None:
            role, agent, amount = share
            self._sums[role, agent] -= amount
            if not self._sums[role, agent]:
                del self._sums[role, agent]


def _share(task: Task, role: Role) -> tuple[AgentId | None, int]:
    if role == "worker":
        return (task.poster if task.state is State.DELIVERED else None), 1
    return (task.worker if task.state in LIVE else None), task.terms.price
