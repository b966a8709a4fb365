"""Commands as a person types them, and what came of them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bazaar_node.__main__ import run

OK, BUG, USAGE, NOT_RUNNING, NOT_FOUND, LEASE_LOST = 0, 1, 2, 3, 4, 5
REFUSED, TIMED_OUT, WAITS, TRY_AGAIN, INTERRUPTED = 6, 7, 8, 75, 130


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands in this process, for the node at ``home``."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capture = capture

    def __call__(self, *arguments: str) -> Outcome:
        self._capture.readouterr()
        status = run([*arguments, "--home", str(self.home)])
        captured = self._capture.readouterr()
        return Outcome(status, captured.out, captured.err)
