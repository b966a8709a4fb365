"""The README's commands, run in an empty folder: what they print is what the README shows.

In its output ``…`` stands for what differs from run to run, and alone on a line for any lines. Ids,
times and ports differ, too; ids that the README uses in its commands are replaced by the real ones.
"""

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("heavy")

README = Path(__file__).parents[2] / "README.md"
COMMAND_S = 30.0
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{12,}(?![0-9a-f])")
VARIES = re.compile(rf"(…)|({ID.pattern})|(\d\d:\d\d:\d\d)|((?<=/tcp/)\d+)|( {{2,}})")
STYLE = re.compile(r"\x1b\[\??[0-9;]*[a-zA-Z]")
ERASED = re.compile(r"[^\n]*(?:\n(?:\x1b\[\?25h)?\r?\x1b\[1A)?\r?\x1b\[2K")
"""What a progress bar has drawn over: up to the word that wipes its line, or the one above."""
FOLLOWS = re.compile(r"bazaar (?:reputation|why|find)\b")
"""Evidence follows the trades at a distance, so what these print comes a moment later."""
DAEMON = re.compile(r"bazaar (?:relay )?up\b")


@dataclass(frozen=True)
class Step:
    """A command of the README, and the lines that it shows under it."""

    command: str
    shown: list[str]


def steps() -> Iterator[Step]:
    for block in BLOCK.findall(README.read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.rstrip("\n").split("\n")
            yield Step(command, shown)


class Terminal:
    """A process whose output goes to a terminal of its own."""

    def __init__(self, command: str, folder: Path, environ: dict[str, str]) -> None:
        self._reader, writer = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
            cwd=folder, env=environ, start_new_session=True,
        )  # fmt: skip
        os.close(writer)

    def output(self, until: str | None = None) -> str:
        """Return what it wrote until a line begins with ``until``, or until it ended."""
        raw = b""
        deadline = time.monotonic() + COMMAND_S
        while (left_s := deadline - time.monotonic()) > 0:
            if not select.select([self._reader], [], [], left_s)[0]:
                break
            try:
                raw += os.read(self._reader, 65536)
            except OSError:  # all who could write to it are gone
                return clean(raw)
            if until is not None and re.search(rf"^{until}.*\n", clean(raw), re.MULTILINE):
                return clean(raw)
        raise AssertionError(f"not over in time: {clean(raw)}")

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(5)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
        os.close(self._reader)


@dataclass
class Reader:
    """Somebody who types what the README says."""

    folder: Path
    environ: dict[str, str]
    daemons: list[Terminal] = field(default_factory=list)
    relay: str = ""
    agent: str = ""
    """The first one: the worker."""
    ids: dict[str, str] = field(default_factory=dict)

    def follow(self, step: Step) -> None:
        if step.command.startswith("export "):
            for setting in shlex.split(step.command)[1:]:
                name, _, value = setting.partition("=")
                self.environ[name] = {"RELAY": self.relay, "BO": self.agent}.get(name, value)
            return
        command = ID.sub(lambda found: self.ids[found[0]], step.command).removesuffix("&")
        if DAEMON.match(command):
            terminal = Terminal(f"exec {command}", self.folder, self.environ)
            self.daemons.append(terminal)
            self._compare(step, terminal.output(until="READY"))
            return
        until_s = time.monotonic() + (COMMAND_S if FOLLOWS.match(command) else 0.0)
        while True:
            terminal = Terminal(command, self.folder, self.environ)
            try:
                output = terminal.output()
            finally:
                terminal.stop()
            if time.monotonic() > until_s or matched(step, output):
                break
        self._compare(step, output)

    def _compare(self, step: Step, output: str) -> None:
        found = matched(step, output)
        assert found, f"$ {step.command}\n{output}\nis not what the README shows:\n{step.shown}"
        shown = ID.findall("\n".join(step.shown))
        for said, really in zip(shown, found.groups(), strict=True):
            self.ids.setdefault(said, really[: len(said)])
        if ready := re.match(r"READY (/ip4/\S+)", output.splitlines()[-1]):
            self.relay = self.relay or ready[1]
        if ready := re.match(r"READY (did:key:\S+)", output.splitlines()[-1]):
            self.agent = self.agent or ready[1]


def matched(step: Step, output: str) -> re.Match[str] | None:
    return re.fullmatch("".join(map(line_pattern, step.shown)), output)


def line_pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*?"
    pattern, end = "", 0
    for found in VARIES.finditer(line):
        pattern += re.escape(line[end : found.start()])
        varies = (r".*", r"([0-9a-f]{12,})", r"\d\d:\d\d:\d\d", r"\d+", r" +")
        pattern += varies[(found.lastindex or 1) - 1]
        end = found.end()
    return pattern + re.escape(line[end:]) + r" *\n"


def clean(raw: bytes) -> str:
    text = raw.decode(errors="replace").replace("\r\n", "\n")
    return STYLE.sub("", ERASED.sub("", text))


@contextmanager
def reader(folder: Path) -> Generator[Reader]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BAZAAR_")}
    environ |= {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]]),
        "TERM": "xterm",
        "COLUMNS": "200",
        "XDG_CONFIG_HOME": str(folder / "config"),
        "BAZAAR_RELAY_LISTEN": "/ip4/127.0.0.1/tcp/0",  # its usual port may be taken here
    }
    someone = Reader(folder, environ)
    try:
        yield someone
    finally:
        for daemon in reversed(someone.daemons):
            daemon.stop()


def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path) -> None:
    todo = list(steps())
    assert len(todo) >= 10
    with reader(tmp_path) as someone:
        for step in todo:
            someone.follow(step)
    assert [daemon.process.returncode for daemon in someone.daemons] == [0, 0, 0]


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert len(links) >= 5
    assert [link for link in links if not (README.parent / link).exists()] == []
