"""``bazaar post``: hand out a task, and perhaps wait for what becomes of it."""

import io
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from bazaar_node import outcomes
from bazaar_node.client import Client
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.inputs import Duration, file_bytes, given_bytes, guessed_type
from bazaar_node.commands.progress import event_line, is_over, verdict_status
from bazaar_node.commands.task_file import read_task_file
from bazaar_node.commands.tasks import writing
from bazaar_node.service import Method, PostRequest, TaskView
from bazaar_protocol.errors import ConfigError, NotRunning, TimedOut
from bazaar_protocol.kinds import Mode


def post(  # each option of a task is an option of the command
    file: Annotated[Path | None, Parameter(help="Task in TOML or JSON; options win over it.")] = (
        None
    ),
    *,
    capability: Annotated[
        str | None,
        Parameter(name=["--capability", "-c"], help="What the worker has to be able to do."),
    ] = None,
    input: Annotated[  # noqa: A002 -- its name on the command line
        str | None, Parameter(name=["--input", "-i"], help="Text, @FILE, or - for standard input.")
    ] = None,
    media_type: Annotated[str | None, Parameter(name="--type", help="Its media type.")] = None,
    title: Annotated[str | None, Parameter(help="One line that everybody sees.")] = None,
    private: Annotated[
        bool | None, Parameter(help="Only the chosen worker gets the input.")
    ] = None,
    worker: Annotated[str | None, Parameter(help="Ask this agent and nobody else.")] = None,
    mode: Annotated[Mode | None, Parameter(help="How the worker is found.")] = None,
    price: Annotated[
        int | None, Parameter(help="A fixed price: the first worker takes it.")
    ] = None,
    price_max: Annotated[int | None, Parameter(help="An auction: no bid above this.")] = None,
    bid_window: Annotated[Duration, Parameter(help="How long bids may come, as 2s.")] = None,
    within: Annotated[Duration, Parameter(help="Time to do it in, as 10m.")] = None,
    heartbeat_timeout: Annotated[Duration, Parameter(help="Silence that loses the lease.")] = None,
    attempts: Annotated[int | None, Parameter(help="How many attempts may fail.")] = None,
    schema: Annotated[Path | None, Parameter(help="JSON Schema that the result must meet.")] = None,
    sha256: Annotated[str | None, Parameter(help="The hash that the result must have.")] = None,
    check: Annotated[str | None, Parameter(help="Program that judges; exit 0 accepts.")] = None,
    accept: Annotated[Method | None, Parameter(help="How the result is judged.")] = None,
    sequencer: Annotated[
        Literal["self", "relay"] | None, Parameter(help="Who awards the task.")
    ] = None,
    tag: Annotated[tuple[str, ...], Parameter(help="A tag; may be given again.")] = (),
    key: Annotated[str | None, Parameter(help="Posting twice with one key is one task.")] = None,
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
    said = {
        "capability": capability,
        **_input(input, media_type),
        "title": title,
        "private": private,
        "worker": worker,
        "mode": mode,
        "price": price,
        "price_max": price_max,
        "bid_window_ms": bid_window,
        "start_to_close_ms": within,
        "heartbeat_timeout_ms": heartbeat_timeout,
        "attempts_max": attempts,
        "output_schema": None if schema is None else file_bytes(schema),
        "expected_sha256": sha256,
        "check_command": check,
        "accept": accept,
        "sequencer": sequencer,
        "tags": tag or None,
        "idempotency_key": key,
    }
    request = _request(file, said)
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
    fields |= {name: value for name, value in said.items() if value is not None}
    if "capability" not in fields:
        raise ConfigError("what has to be done? give -c CAPABILITY, or a FILE that says it")
    try:
        return msgspec.convert(fields, PostRequest)
    except msgspec.ValidationError as error:
        where = f"{file}: " if file is not None else ""
        raise ConfigError(f"{where}not a task: {error}") from error


def _input(said: str | None, media_type: str | None) -> dict[str, Any]:
    if said is None:
        return {"media_type": media_type}
    data = given_bytes(said)
    return {"input": data, "media_type": media_type or guessed_type(data)}


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
