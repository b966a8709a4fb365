"""How far a task is, in words and in exit statuses."""

import time
from typing import Final

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.service import TaskEvent, TaskView
from bazaar_protocol.untrusted import clean

_OVER: Final = frozenset({"accepted", "rejected", "lapsed", "expired", "cancelled", "failed"})
_TIMED_OUT: Final = frozenset({"lapsed", "expired"})
_NOTE_CHARS: Final = 120


def is_over(task: TaskView) -> bool:
    """Tell whether nothing more will happen to a task."""
    return task.state in _OVER


def verdict_status(task: TaskView) -> int:
    """Return the exit status of a command that waited for ``task``."""
    if task.state == "accepted":
        return outcomes.OK
    if task.awaits_approval:
        return outcomes.WAITS_FOR_HUMAN
    return outcomes.TIMED_OUT if task.state in _TIMED_OUT else outcomes.REFUSED


def event_line(event: TaskEvent) -> str:
    """Return one line of a task's history."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.seen_ms / 1000))
    words = [clock, f"{event.what:<10}"]
    if event.agent:
        words.append(output.short_agent(event.agent))
    if event.epoch:
        words.append(f"epoch {event.epoch}")
    if event.untrusted_note:
        words.append(clean(event.untrusted_note, _NOTE_CHARS))
    return "  ".join(words)
