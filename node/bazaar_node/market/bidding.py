"""When an agent that would do a task still has to ask for it."""

from typing import Final

from bazaar_protocol.identity import AgentId
from bazaar_protocol.task import State, Task

_GOES_ON: Final = frozenset({State.OPEN, State.AWARDED, State.RUNNING})


def has_to_ask(task: Task, me: AgentId) -> bool:
    """Tell whether a task may come to ``me``, now or later, for which no bid of theirs is out.

    While everyone who would do it has a bid out, its sequencer always has somebody to turn to.
    """
    ours = (bid.record for bid in task.bids if bid.record.author == me)
    has_bid = any(bid.id not in task.spent for bid in ours)
    return task.state in _GOES_ON and task.worker != me and not has_bid


def next_bid_ms(task: Task, me: AgentId) -> int:
    """Return the earliest time of a bid by ``me`` that counts as newer than the last one."""
    ours = (bid.record.time_ms for bid in task.bids if bid.record.author == me)
    return max(ours, default=0) + 1
