"""``bazaar post``: hand out a task, and perhaps wait for what becomes of it."""

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from bazaar_node import outcomes
from bazaar_node.api.client import Client
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.inputs import Duration
from bazaar_node.commands.post_options import (
    NO_JUDGING_OPTIONS,
    NO_LIMIT_OPTIONS,
    NO_TASK_OPTIONS,
    JudgingOptions,
    LimitOptions,
    TaskOptions,
)
from bazaar_node.commands.progress import event_line, is_over, verdict_status
from bazaar_node.commands.task_file import read_task_file
from bazaar_node.commands.tasks import writing
from bazaar_node.service import PostRequest, TaskView
from bazaar_protocol.errors import ConfigError, NotRunning, TimedOut


def post(
    file: Annotated[Path | None, Parameter(help="Task in TOML or JSON; options win over it.")] = (
        None
    ),
    /,
    *,
    task: TaskOptions = NO_TASK_OPTIONS,
    limits: LimitOptions = NO_LIMIT_OPTIONS,
    judging: JudgingOptions = NO_JUDGING_OPTIONS,
    wait: Annotated[bool, Parameter(help="Wait, and write the result.")] = False,
    timeout: Annotated[Duration, Parameter(help="Wait no longer than this, as 30s.")] = None,
    to: Annotated[Path | None, Parameter(name=["--output", "-o"], help="File for the result.")] = (
        None
    ),
    common: Common = NO_OPTIONS,
) -> int:
    """Post a task: to one worker, at a fixed price, or as an auction.

    With --wait the exit status says how it went: 0 accepted, 6 rejected or failed, 7 timed out,
    8 waits for your verdict.
    """
    request = _request(file, task.fields() | limits.fields() | judging.fields())
    client = common.client()
    posted = client.post(request)
    if wait:
        return _Waiting(client, common, to).finish(posted, timeout)
    if common.json:
        output.emit(posted)
    else:
        output.show(posted.id)
    output.suggest(f"bazaar task {output.short_id(posted.id)} --watch")
    return outcomes.OK


def _request(file: Path | None, said: dict[str, Any]) -> PostRequest:
    fields = read_task_file(file) if file is not None else {}
    fields |= said
    if "capability" not in fields:
        raise ConfigError("what has to be done? give -c CAPABILITY, or a FILE that says it")
    try:
        return msgspec.convert(fields, PostRequest)
    except msgspec.ValidationError as error:
        where = f"{file}: " if file is not None else ""
        raise ConfigError(f"{where}not a task: {error}") from error


class _Waiting:
    """Waits for a task: what happens goes to standard error, the result to standard output."""

    def __init__(self, client: Client, common: Common, to: Path | None) -> None:
        self._client = client
        self._is_json = common.json
        self._to = to

    def finish(self, posted: TaskView, timeout_ms: int | None) -> int:
        """Wait until the task is over or waits for a person; return the exit status."""
        name = output.short_id(posted.id)
        output.say(f"posted {posted.id}")
        try:
            task = self._watched(posted, None if timeout_ms is None else timeout_ms / 1000)
        except TimedOut as error:
            raise TimedOut(
                f"task {name} is not over yet; it goes on: bazaar task {name} --watch"
            ) from error
        result = self._fetched(task) if task.state == "accepted" else None
        if self._is_json:
            output.emit({"task": task, "file": self._to, "untrusted_result": result})
        status = verdict_status(task)
        if status == outcomes.OK:
            output.suggest(f"bazaar audit {name}")
        elif status == outcomes.WAITS_FOR_HUMAN:
            output.suggest(
                f"bazaar fetch {name}, then bazaar approve {name} or bazaar reject {name}"
            )
        else:
            why = f": {output.title(task.why)}" if task.why else ""
            output.say(f"bazaar: task {name} ended {task.state}{why}")
            output.suggest(f"bazaar task {name}")
        return status

    def _watched(self, posted: TaskView, timeout_s: float | None) -> TaskView:
        shown, task = 0, posted
        progress = -1
        for detail in self._client.watch(posted.id, timeout_s=timeout_s):
            task = detail.task
            for event in detail.events[shown:]:
                output.say(event_line(event))
            shown = len(detail.events)
            if task.progress != progress and task.state == "running":
                progress = task.progress
                output.say(f"running {progress} %")
            if task.awaits_approval or is_over(task):
                return task
        raise NotRunning(
            f"the node ended; task {output.short_id(task.id)} goes on when it runs: bazaar up"
        )

    def _fetched(self, task: TaskView) -> bytes | None:
        if self._is_json and self._to is None:
            memory = io.BytesIO()
            self._client.fetch(task.id, memory)
            return memory.getvalue()
        with writing(self._to) as file:
            self._client.fetch(task.id, file)
        if self._to is None and sys.stdout.isatty():
            output.say("")  # what a stranger wrote need not end with a line
        return None
