"""What is done with tasks that exist: list, watch, cancel, judge, fetch."""

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.progress import event_line, is_over, verdict_status
from bazaar_node.service import Role, TaskDetail, TaskView
from bazaar_protocol.errors import ConfigError, NotRunning

TaskId = Annotated[str, Parameter(help="The task's id, or its first digits.")]
Reason = Annotated[str, Parameter(name=["--reason", "-r"], help="Why, in a few words.")]

_HEADINGS = ("id", "role", "state", "capability", "title", "worker", "price", "age")


def tasks(
    *,
    role: Annotated[Role | None, Parameter(help="Only those we posted, or work on.")] = None,
    state: Annotated[str | None, Parameter(help="Only those in this state.")] = None,
    limit: Annotated[int, Parameter(help="How many at most.")] = 50,
    common: Common = NO_OPTIONS,
) -> int:
    """List tasks that this node posted or works on, newest first."""
    found = common.client().tasks(role=role, state=state, limit=limit)
    if common.json:
        output.emit({"tasks": found})
        return outcomes.OK
    output.table(_HEADINGS, [_row(task) for task in found])
    waiting = next((task for task in found if task.awaits_approval), None)
    if waiting is not None:
        output.suggest(f"bazaar fetch {output.short_id(waiting.id)}")
    elif found:
        output.suggest(f"bazaar task {output.short_id(found[0].id)}")
    else:
        output.say("There are no such tasks.")
        output.suggest("bazaar find WORDS")
    return outcomes.OK


def task(
    task_id: TaskId,
    /,
    *,
    watch: Annotated[bool, Parameter(help="Go on until it is over.")] = False,
    common: Common = NO_OPTIONS,
) -> int:
    """Show a task with everything this node saw of it."""
    client = common.client()
    if not watch:
        detail = client.task(task_id)
        if common.json:
            output.emit(detail)
        else:
            _show(detail)
        _suggest_for(detail.task)
        return outcomes.OK
    shown = 0
    last: TaskDetail | None = None
    for last in client.watch(task_id):
        if common.json:
            output.emit(last)
            continue
        for event in last.events[shown:]:
            output.show(event_line(event))
        shown = len(last.events)
    if last is None or not is_over(last.task):
        raise NotRunning("the node ended; the task goes on when it runs again: bazaar up")
    _suggest_for(last.task)
    return verdict_status(last.task)


def cancel(task_id: TaskId, /, *, reason: Reason = "", common: Common = NO_OPTIONS) -> int:
    """Take back a task you posted, or leave one you work on; it costs nothing in good time."""
    _report(common, common.client().cancel(task_id, reason=reason))
    return outcomes.OK


def approve(task_id: TaskId, /, *, reason: Reason = "", common: Common = NO_OPTIONS) -> int:
    """Accept a result that waits for your verdict."""
    _report(common, common.client().decide(task_id, accepted=True, reason=reason))
    return outcomes.OK


def reject(
    task_id: TaskId,
    /,
    *,
    reason: Annotated[str, Parameter(name=["--reason", "-r"], help="Why: the worker reads it.")],
    common: Common = NO_OPTIONS,
) -> int:
    """Refuse a result that waits for your verdict, saying why."""
    _report(common, common.client().decide(task_id, accepted=False, reason=reason))
    return outcomes.OK


def dispute(
    task_id: TaskId,
    /,
    *,
    reason: Annotated[str, Parameter(name=["--reason", "-r"], help="Why: everybody reads it.")],
    common: Common = NO_OPTIONS,
) -> int:
    """Contradict the rejection of a result of yours, in your log.

    A rejection that is left alone counts in full against you; one that is disputed counts less,
    and against its poster as well. What can be proved, the node disputes by itself.
    """
    _report(common, common.client().dispute(task_id, reason=reason))
    return outcomes.OK


def fetch(
    task_id: TaskId,
    /,
    *,
    to: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="File to write; else standard output.")
    ] = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Write a task's result, checked against the hash that its worker signed."""
    client = common.client()
    detail = client.task(task_id).task
    if common.json and to is None:
        raise ConfigError("with --json the result needs a file of its own: add -o FILE")
    with writing(to) as file:
        size = client.fetch(detail.id, file)
    if to is None and sys.stdout.isatty():
        output.say("")  # what a stranger wrote need not end with a line
    if common.json:
        output.emit({"task": detail.id, "file": str(to), "size": size})
    elif to is not None:
        output.say(f"{size} bytes in {to}; a stranger made them, so look before you run anything")
    if detail.awaits_approval:
        output.suggest(f"bazaar approve {output.short_id(detail.id)}  (or bazaar reject)")
    return outcomes.OK


@contextmanager
def writing(to: Path | None) -> Generator[BinaryIO]:
    """Yield the file ``to``, which appears whole or not at all; or standard output.

    Raises:
        ConfigError: It cannot be written.

    """
    if to is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{to.name}.", dir=to.parent)
    except OSError as error:
        raise ConfigError(f"{to}: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(part).replace(to)
    except OSError as error:
        raise ConfigError(f"{to}: {error.strerror or error}") from error
    finally:
        Path(part).unlink(missing_ok=True)


def _row(task: TaskView) -> tuple[str, ...]:
    return (
        output.short_id(task.id),
        task.role,
        task.state + (" (for you)" if task.awaits_approval else ""),
        task.capability,
        output.title(task.untrusted_title),
        output.short_agent(task.worker),
        "-" if task.price is None else str(task.price),
        output.ago(task.created_ms),
    )


def _show(detail: TaskDetail) -> None:
    task = detail.task
    output.facts(
        [
            ("task", task.id),
            ("title", output.title(task.untrusted_title) or "-"),
            ("state", task.state + (f": {output.title(task.why)}" if task.why else "")),
            ("capability", f"{task.capability}, {task.mode}"),
            ("poster", task.poster),
            ("worker", task.worker or "-"),
            ("price", "-" if task.price is None else str(task.price)),
            ("epoch", f"{task.epoch}, attempt {task.attempts}"),
            ("result", _result(task)),
        ]
    )
    for bid in detail.bids:
        terms = f"{bid.price} in {bid.eta_ms} ms" if bid.price is not None else "sealed"
        output.show(f"bid         {output.short_agent(bid.worker)}  {terms}")
    for event in detail.events:
        output.show(event_line(event))


def _result(task: TaskView) -> str:
    if not task.result_sha256:
        return "-"
    where = "here" if task.has_result else "not fetched yet"
    return f"sha256:{task.result_sha256}, {task.result_size} bytes, {where}"


def _report(common: Common, task: TaskView) -> None:
    if common.json:
        output.emit(task)
    else:
        output.show(f"{task.id}  {task.state}")
    _suggest_for(task)


def _suggest_for(task: TaskView) -> None:
    name = output.short_id(task.id)
    if task.awaits_approval:
        output.suggest(f"bazaar fetch {name}, then bazaar approve {name} or bazaar reject {name}")
    elif task.state == "accepted" and task.role == "poster":
        output.suggest(f"bazaar fetch {name}")
    elif is_over(task):
        output.suggest(f"bazaar audit {name}")
    else:
        output.suggest(f"bazaar task {name} --watch")
