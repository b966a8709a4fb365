"""Who holds a task, by the order in which somebody took its records: a fold of its own."""

from dataclasses import dataclass
from typing import Final

from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.journal import short

_ONE_LIVE_EPOCH: Final = "at most one live epoch for each task"
_NO_STALE_WRITE: Final = "no stale write is taken"
_FROM: Final = {
    "accept": frozenset({"awarded"}),
    "heartbeat": frozenset({"running"}),
    "deliver": frozenset({"running"}),
    "verdict": frozenset({"delivered", "lapsed"}),
    "breach": frozenset({"running", "delivered"}),
}
_TO: Final = {
    "accept": "running",
    "heartbeat": "running",
    "deliver": "delivered",
    "breach": "open",
}


@dataclass(frozen=True, slots=True)
class Taken:
    """A record about a task, as somebody has taken it."""

    task: bytes
    what: str
    epoch: int
    author: bytes
    worker: bytes = b""
    """Of an award: to whom."""
    is_live: bool = True
    """False when it was read back in a relay's order, which may not be the order in which its
    author heard of things."""


class Attempts:
    """The attempts at all tasks, as one party knows them.

    Args:
        name: Of that party.
        agent: Its key: what it awards itself, it must know to be free.

    """

    def __init__(self, name: str, agent: bytes) -> None:
        self._name = name
        self._agent = agent
        self._states: dict[bytes, str] = {}
        self._epochs: dict[bytes, int] = {}
        self._workers: dict[bytes, bytes] = {}

    def take(self, taken: Taken) -> None:
        """Follow a record that was taken.

        Raises:
            BrokenInvariant: It should not have been.

        """
        match taken.what:
            case "award":
                self._award(taken)
            case "accept" | "heartbeat" | "deliver" | "verdict" | "breach":
                self._write(taken)
            case "decline" | "withdraw" if taken.epoch == self._epochs.get(taken.task):
                self._states[taken.task] = "open"
            case "lapsed":
                self._states[taken.task] = "lapsed"
            case _:
                pass

    def _award(self, taken: Taken) -> None:
        task = taken.task
        if taken.epoch <= self._epochs.get(task, 0):
            self._break(_ONE_LIVE_EPOCH, taken, "awarded again")
        is_held = taken.is_live and self._states.get(task) in {"running", "delivered"}
        if is_held and taken.author == self._agent:
            self._break(_ONE_LIVE_EPOCH, taken, "awarded while another attempt was under way")
        self._epochs[task] = taken.epoch
        self._workers[task] = taken.worker
        self._states[task] = "awarded"

    def _write(self, taken: Taken) -> None:
        task = taken.task
        state = self._states.get(task, "open")
        if taken.epoch != self._epochs.get(task, 0):
            self._break(_NO_STALE_WRITE, taken, f"in epoch {self._epochs.get(task, 0)}")
        if state not in _FROM[taken.what]:
            self._break(_NO_STALE_WRITE, taken, f"while the task was {state}")
        by_worker = taken.what in {"accept", "heartbeat", "deliver"}
        if by_worker and taken.author != self._workers.get(task):
            self._break(_NO_STALE_WRITE, taken, "by somebody who does not hold it")
        self._states[task] = _TO.get(taken.what, "over")

    def _break(self, invariant: str, taken: Taken, why: str) -> None:
        what = f"{taken.what} of epoch {taken.epoch} of task {short(taken.task)}"
        raise BrokenInvariant(invariant, f"{self._name} took {what} {why}")
