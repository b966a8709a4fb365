"""The options of ``bazaar post``: what a task is, how long it may take, how it is judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from bazaar_node.commands.inputs import Duration, file_bytes, given_bytes, guessed_type
from bazaar_node.service import Method
from bazaar_protocol.kinds import Mode


@Parameter(name="*")
@dataclass(frozen=True)
class TaskOptions:
    """What is to be done, by whom, for how much."""

    capability: Annotated[
        str | None,
        Parameter(name=["--capability", "-c"], help="What the worker has to be able to do."),
    ] = None
    input: Annotated[
        str | None,
        Parameter(name=["--input", "-i"], help="Text, @FILE, or - for standard input."),
    ] = None
    media_type: Annotated[
        str | None, Parameter(name="--type", help="Media type of the input; guessed if not said.")
    ] = None
    title: Annotated[str | None, Parameter(help="One line that everybody sees.")] = None
    private: Annotated[bool | None, Parameter(help="Only the chosen worker gets the input.")] = None
    worker: Annotated[str | None, Parameter(help="Ask this agent and nobody else.")] = None
    mode: Annotated[Mode | None, Parameter(help="How the worker is found.")] = None
    price: Annotated[int | None, Parameter(help="A fixed price: the first worker takes it.")] = None
    price_max: Annotated[
        int | None, Parameter(help="An auction: no bid above this; 1000 if not said.")
    ] = None
    sequencer: Annotated[
        Literal["self", "relay"] | None, Parameter(help="Who awards the task.")
    ] = None
    tag: Annotated[tuple[str, ...], Parameter(help="A tag; may be given again.")] = ()
    key: Annotated[str | None, Parameter(help="Posting twice with one key is one task.")] = None

    def fields(self) -> dict[str, Any]:
        """Return what was said, by the names of ``PostRequest``."""
        data = None if self.input is None else given_bytes(self.input)
        guessed = None if data is None else guessed_type(data)
        return _said(
            capability=self.capability,
            input=data,
            media_type=self.media_type or guessed,
            title=self.title,
            private=self.private,
            worker=self.worker,
            mode=self.mode,
            price=self.price,
            price_max=self.price_max,
            sequencer=self.sequencer,
            tags=self.tag or None,
            idempotency_key=self.key,
        )


@Parameter(name="*")
@dataclass(frozen=True)
class LimitOptions:
    """How long it may take, and how often it may fail."""

    bid_window: Annotated[Duration, Parameter(help="How long bids may come, as 2s.")] = None
    within: Annotated[Duration, Parameter(help="Time to do it in, as 10m.")] = None
    heartbeat_timeout: Annotated[
        Duration, Parameter(help="Silence that loses the lease, as 60s.")
    ] = None
    attempts: Annotated[int | None, Parameter(help="How many attempts may fail.")] = None

    def fields(self) -> dict[str, Any]:
        """Return what was said, by the names of ``PostRequest``."""
        return _said(
            bid_window_ms=self.bid_window,
            start_to_close_ms=self.within,
            heartbeat_timeout_ms=self.heartbeat_timeout,
            attempts_max=self.attempts,
        )


@Parameter(name="*")
@dataclass(frozen=True)
class JudgingOptions:
    """What a result has to be."""

    schema: Annotated[Path | None, Parameter(help="JSON Schema that the result must meet.")] = None
    sha256: Annotated[str | None, Parameter(help="The hash that the result must have.")] = None
    check: Annotated[str | None, Parameter(help="Program that judges; exit 0 accepts.")] = None
    accept: Annotated[Method | None, Parameter(help="How the result is judged.")] = None

    def fields(self) -> dict[str, Any]:
        """Return what was said, by the names of ``PostRequest``."""
        return _said(
            output_schema=None if self.schema is None else file_bytes(self.schema),
            expected_sha256=self.sha256,
            check_command=self.check,
            accept=self.accept,
        )


NO_TASK_OPTIONS: Final = TaskOptions()
NO_LIMIT_OPTIONS: Final = LimitOptions()
NO_JUDGING_OPTIONS: Final = JudgingOptions()


def _said(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
