"""The processes of the demo: a relay and agents, which end with it in whatever way it ends."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Final

from bazaar_node.api.client import Client
from bazaar_protocol.errors import LocalError, TimedOut

READY_S: Final = 30.0
COMMAND_S: Final = 30.0
END_S: Final = 1.0
"""How long processes may take to end in good order, before they are killed."""

_OURS: Final = "BAZAAR_"


@dataclass(frozen=True, slots=True)
class Actor:
    """A relay or a node in a process of its own."""

    name: str
    home: Path
    log: Path
    process: subprocess.Popen[str]

    @property
    def client(self) -> Client:
        """A client of the node, over its own socket."""
        return Client(self.home)


class Stage:
    """Starts processes in ``folder``, and ends all of them; see ``opened``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._actors: list[Actor] = []
        self._is_held = False
        self._caught = 0

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Generator["Stage"]:
        """Run processes inside this block; Ctrl-C, SIGTERM and a closed terminal end it."""
        stage = cls(folder)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, stage._on_signal) for number in numbers]
        try:
            yield stage
        finally:
            stage._is_held = True  # the end is not interrupted: it is short
            stage._end()
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def start(self, name: str, *arguments: str) -> Actor:
        """Start ``bazaar`` with ``arguments`` and a home of its own; it need not be ready yet."""
        home, log = self.folder / name, self.folder / f"{name}.log"
        command = [sys.executable, "-m", "bazaar_node", *arguments, "--home", str(home)]
        # A signal between the start and the list would leave the process behind.
        with self._holding(), log.open("a") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, text=True,
                cwd=self.folder, env=self._environment(), start_new_session=True,
            )  # fmt: skip
            actor = Actor(name, home, log, process)
            self._actors.append(actor)
        return actor

    def ready(self, actor: Actor) -> list[str]:
        """Wait until ``actor`` says READY, and return the words after it.

        Raises:
            LocalError: It ended instead.
            TimedOut: It did not say so in time.

        """
        stdout = actor.process.stdout
        assert stdout is not None
        if not _has_line(stdout, READY_S):
            raise TimedOut(f"expected {actor.name} to be READY within {READY_S:g} s")
        words = stdout.readline().split()
        if words[:1] != ["READY"]:
            status = actor.process.wait(COMMAND_S)
            raise LocalError(f"expected {actor.name} to be READY; it ended with status {status}")
        return words[1:]

    def run(self, actor: Actor, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ``bazaar`` for the node of ``actor``.

        Raises:
            TimedOut: It took too long.

        """
        return self._run("bazaar_node", *arguments, "--home", str(actor.home))

    def cheat(self, actor: Actor, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Let ``actor`` do what its node would not: with its key, and past its node.

        Raises:
            TimedOut: It took too long.

        """
        return self._run("bazaar_node.demo.adversary", str(actor.home), *arguments)

    def _run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [sys.executable, "-m", module, *arguments],
                check=False, capture_output=True, text=True, timeout=COMMAND_S,
                cwd=self.folder, env=self._environment(),
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            shown = " ".join((module, *arguments))
            raise TimedOut(f"expected {shown} to end within {COMMAND_S:g} s") from error

    def kill(self, actor: Actor) -> int:
        """Kill ``actor`` as ``kill -9`` does, and return how it ended."""
        actor.process.kill()
        status = actor.process.wait(COMMAND_S)
        self._forget(actor)
        return status

    def _environment(self) -> dict[str, str]:
        # Nobody's own settings take part: the story is the same on every machine.
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return ours | {"XDG_CONFIG_HOME": str(self.folder)}

    @contextmanager
    def _holding(self) -> Generator[None]:
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._caught:
            self._interrupt()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._caught = number
        if not self._is_held:
            self._interrupt()

    def _interrupt(self) -> None:
        if self._caught == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self._caught)

    def _end(self) -> None:
        for actor in self._actors:
            actor.process.terminate()
        until_s = time.monotonic() + END_S
        for actor in list(self._actors):
            try:
                actor.process.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                actor.process.kill()
                actor.process.wait()
            self._forget(actor)

    def _forget(self, actor: Actor) -> None:
        self._actors.remove(actor)
        if actor.process.stdout is not None:
            actor.process.stdout.close()


def _has_line(stream: IO[str], timeout_s: float) -> bool:
    """Wait for a line, or for the end: READY comes as one write."""
    readable, _, _ = select.select([stream], [], [], timeout_s)
    return bool(readable)
