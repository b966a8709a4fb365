"""The whole of it as people run it: a relay, nodes and commands, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("heavy")

OK, NOT_RUNNING, REFUSED, TRY_AGAIN = 0, 3, 6, 75
STOPPED_WITHIN_S = 2.0
PROGRAM = "sh -c 'tr a-z A-Z < $BAZAAR_TASK_DIR/input; yes x | tr -d [:space:] | head -c 100000'"
LARGE = b"ONE TWO" + b"x" * 100_000


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bazaar_node", *arguments]


@dataclass(frozen=True)
class Daemon:
    """A relay or a node that serves."""

    process: subprocess.Popen[str]
    home: Path
    ready: list[str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments, "--home", str(self.home)),
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def done(self, *arguments: str) -> str:
        outcome = self.run(*arguments)
        assert outcome.returncode == OK, outcome.stderr
        assert "Traceback" not in outcome.stderr
        return outcome.stdout


@contextmanager
def daemon(home: Path, *arguments: str) -> Generator[Daemon]:
    """Run a relay or node until it says READY, and stop it at the end."""
    log = home.with_suffix(".log")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BAZAAR_")}
    with log.open("w") as file, subprocess.Popen(
        command(*arguments, "--home", str(home)),
        stdout=subprocess.PIPE, stderr=file, text=True, env=environ, cwd=home.parent,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().split()
            assert ready[:1] == ["READY"], log.read_text()
            yield Daemon(process, home, ready[1:])
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                finally:
                    process.kill()


@dataclass(frozen=True)
class Market:
    """A relay, one who posts, and one who works by a program."""

    relay: Daemon
    poster: Daemon
    worker: Daemon


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Generator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with ExitStack() as stack:
        listen = ("--listen", "/ip4/127.0.0.1/tcp/0")
        relay = stack.enter_context(daemon(folder / "relay", "relay", "up", *listen))
        via = ("--relay", relay.ready[0])
        offers = ("--offer", "text.shout", "--exec", PROGRAM, "--price", "5")
        worker = stack.enter_context(daemon(folder / "worker", "up", *via, *offers))
        poster = stack.enter_context(daemon(folder / "poster", "up", *via))
        yield Market(relay, poster, worker)


def test_strangers_trade_a_task_and_prove_it(market: Market, tmp_path: Path) -> None:
    poster = market.poster
    found = json.loads(poster.done("find", "shout", "--json"))["found"]
    agent = market.worker.ready[0]
    assert ("text.shout@1", agent) in [(one["capability"], one["agent"]) for one in found]
    output = tmp_path / "result"
    waited = poster.run(
        "post", "-c", "text.shout", "-i", "one two", "--wait", "--timeout", "30s", "-o", str(output)
    )
    assert waited.returncode == OK, waited.stderr
    assert waited.stdout == ""
    assert output.read_bytes() == LARGE, "more than a letter holds, so it was fetched directly"
    for word in ("bid", "award", "accept", "deliver"):
        assert word in waited.stderr
    task = json.loads(poster.done("tasks", "--limit", "1", "--json"))["tasks"][0]
    assert (task["state"], task["worker"], task["price"]) == ("accepted", agent, 5)
    assert poster.done("fetch", task["id"][:12]).encode() == LARGE
    for side in (poster, market.worker):
        report = json.loads(side.done("audit", task["id"], "--json"))
        assert report["is_sound"]
        assert report["report"]["signatures"] >= 6
    assert poster.done("doctor").count("fail") == 0


def test_an_agent_works_by_commands_and_a_person_judges(market: Market) -> None:
    market.worker.done("offer", "text.think")
    post = ("post", "-c", "text.think", "-i", "why?", "--accept", "human", "--price", "3")
    task = market.poster.done(*post).strip()
    taken = json.loads(market.worker.done("work", "next", "--json", "--wait", "20s"))
    assert (taken["task"], taken["untrusted_input"]) == (task, "d2h5Pw==")
    market.worker.done("work", "heartbeat", task, "--progress", "50")
    market.worker.done("work", "deliver", task, "-i", "because")
    waits = market.poster.run("task", task, "--json")
    deadline = time.monotonic() + 20
    while not json.loads(waits.stdout)["task"]["awaits_approval"]:
        assert time.monotonic() < deadline, waits.stdout
        waits = market.poster.run("task", task, "--json")
    assert market.poster.done("fetch", task) == "because"
    assert market.poster.done("approve", task, "-r", "good").split() == [task, "accepted"]
    assert market.worker.run("work", "next").returncode == TRY_AGAIN


def test_a_trade_is_worth_something_to_who_lived_through_it(market: Market, tmp_path: Path) -> None:
    poster, agent = market.poster, market.worker.ready[0]
    poster.done("post", "-c", "text.shout", "-i", "a", "--price", "5", "--wait", "--timeout", "30s")
    deadline = time.monotonic() + 20
    while not (why := json.loads(poster.done("why", agent, "--json")))["receipts"]:
        assert time.monotonic() < deadline, why
    receipt = why["receipts"][0]
    assert (receipt["why"], receipt["rater"]) == ("accepted", poster.ready[0])
    name = agent.removeprefix("did:key:")[:20]
    score = json.loads(poster.done("reputation", name, "-c", "text.shout", "--json"))
    assert (score["agent"], score["is_known"], score["bad"]) == (agent, True, 0.0)
    assert 0.4 < score["lower"] < score["mean"] < 1.0
    assert json.loads(poster.done("audit", name, "--json"))["is_sound"]
    found = json.loads(poster.done("find", "shout", "--json"))["found"]
    assert (found[0]["agent"], found[0]["claim"]) == (agent, "probed")
    while (rebuilt := poster.run("evidence", "rebuild")).returncode == TRY_AGAIN:
        assert time.monotonic() < deadline, rebuilt.stdout  # records came meanwhile
    assert rebuilt.stdout.endswith(": equal\n")
    file = tmp_path / "worker.evidence"
    count = json.loads(poster.done("evidence", "export", str(file), agent, "--json"))["records"]
    imported = json.loads(market.worker.done("evidence", "import", str(file), "--json"))
    assert (imported["read"], imported["refused"]) == (count, 0)
    file.write_bytes(file.read_bytes()[:-1])
    assert market.worker.run("evidence", "import", str(file)).returncode == REFUSED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_stops_in_time_and_comes_back(
    market: Market, tmp_path: Path, number: signal.Signals
) -> None:
    up = ("up", "--relay", market.relay.ready[0])
    with daemon(tmp_path / "node", *up) as node:
        agent = node.ready[0]
        task = node.done("post", "-c", "nobody.does.this").strip()
        watching = subprocess.Popen(
            command("task", task, "--watch", "--json", "--home", str(node.home)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with watching:
            assert watching.stdout is not None
            assert json.loads(watching.stdout.readline())["task"]["state"] == "open"
            begun = time.monotonic()
            node.process.send_signal(number)
            assert node.process.wait(10) == OK
            assert time.monotonic() - begun < STOPPED_WITHIN_S
            assert watching.wait(10) == NOT_RUNNING
        assert node.run("status").returncode == NOT_RUNNING
    assert "Traceback" not in (tmp_path / "node.log").read_text()
    with daemon(tmp_path / "node", *up) as node:
        assert node.ready[0] == agent
        assert json.loads(node.done("tasks", "--json"))["tasks"][0]["id"] == task
