"""The command line: help, exit statuses, JSON, errors, and how little it loads."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.served import Served, served
from tests.shell import (
    BUG,
    INTERRUPTED,
    LEASE_LOST,
    NOT_FOUND,
    NOT_RUNNING,
    OK,
    REFUSED,
    TIMED_OUT,
    TRY_AGAIN,
    USAGE,
    WAITS,
    Shell,
)  # fmt: skip

from bazaar_node.__main__ import run
from bazaar_node.command_line import make_app
from bazaar_node.service import OfferRequest, PostRequest

GROUPS = {
    "key": ("show", "backup", "restore", "recover"),
    "config": ("show",),
    "work": ("next", "heartbeat", "deliver"),
    "canary": ("add", "list", "remove"),
    "evidence": ("export", "import", "rebuild"),
}
ELSEWHERE = {"relay", "simulate", "demo"}
OURS = sorted(name for name in make_app() if not name.startswith("-") and name not in ELSEWHERE)
EVERY = [(name,) for name in OURS] + [
    (group, name) for group, names in GROUPS.items() for name in names
]
SHORT_COMMANDS = (
    ("status",), ("tasks",), ("task", "a"), ("offers",), ("find", "x"), ("audit", "a"),
    ("cancel", "a"), ("approve", "a"), ("work", "next"), ("post", "-c", "a", "-i", "b"),
    ("reputation", "a"), ("why", "a"), ("evidence", "rebuild"),
)  # fmt: skip
HEAVY = {
    "aiosqlite", "asyncio", "cryptography", "hypercorn", "libp2p", "nacl", "prometheus_client",
    "rich", "sqlite3", "starlette", "structlog", "trio", "uvloop",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("BAZAAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def shell(home: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(home, capfd)


@pytest.fixture
def api(home: Path) -> Generator[Served]:
    home.mkdir()
    with served(home) as running:
        yield running


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_help_ends_with_an_example(
    command: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--help"]) == OK
    out = capfd.readouterr().out.strip()
    last = out.splitlines()[-1]
    assert last.startswith(f"Example: bazaar {command[0]}")
    assert "--home" in out or command[0] in GROUPS


def test_the_first_help_says_what_each_command_does(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == run(["--help"]) == OK
    out = capfd.readouterr().out
    for name in OURS:
        assert re.search(rf"│ {name} +\w", out), name
    assert run(["--version"]) == OK
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capfd.readouterr().out)


@pytest.mark.parametrize("command", SHORT_COMMANDS, ids=" ".join)
def test_without_a_node_a_command_says_what_to_type(shell: Shell, command: tuple[str, ...]) -> None:
    outcome = shell(*command)
    assert outcome.status == NOT_RUNNING
    assert outcome.out == ""
    assert "no node is running in" in outcome.err
    assert outcome.err.splitlines()[-1] == "next: bazaar up"
    assert "Traceback" not in outcome.err


def test_errors_are_json_where_answers_would_be(shell: Shell) -> None:
    outcome = shell("status", "--json")
    assert (outcome.status, outcome.out) == (NOT_RUNNING, "")
    error = json.loads(outcome.err)["error"]
    assert (error["code"], error["next"]) == ("not-running", "bazaar up")


def test_a_traceback_is_shown_to_those_who_ask(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Traceback" in shell("status", "--debug").err
    monkeypatch.setenv("BAZAAR_DEBUG", "1")
    outcome = shell("status")
    assert "Traceback" in outcome.err
    assert outcome.status == NOT_RUNNING


@pytest.mark.parametrize(
    ("arguments", "says", "then"),
    [
        (("stats",), "did you mean status?", "bazaar --help"),
        (("status", "--hom"), "--hom", "bazaar status --help"),
        (("post",), "give -c CAPABILITY", "bazaar post --help"),
        (("post", "-c", "a", "--within", "soon"), "30s", "bazaar post --help"),
        (("post", "-c", "a", "--mode", "theft"), "theft", "bazaar post --help"),
        (("post", "-c", "a", "-i", "@missing"), "missing", "bazaar post --help"),
        (("reject", "a"), "--reason", "bazaar reject --help"),
        (("work", "delivr"), "delivr", "bazaar work --help"),
        (("up", "--offer", "a", "--exec", "b", "--exec", "c"), "one --exec", "bazaar up --help"),
        (("up", "--relay", "nonsense"), "not an address", "bazaar up --help"),
        (("init", "--relay", "/ip4/127.0.0.1/tcp/1"), "/p2p/", "bazaar init --help"),
    ],
)
def test_wrong_usage_is_explained(
    shell: Shell, arguments: tuple[str, ...], says: str, then: str
) -> None:
    outcome = shell(*arguments)
    assert outcome.status == USAGE
    assert says in outcome.err
    assert outcome.err.splitlines()[-1] == f"next: {then}"
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_status_for_people_and_for_programs(shell: Shell, api: Served) -> None:
    assert "ready, process 1" in shell("status").out
    assert shell("status", "--json").json["slots"] == 4
    api.node.is_ready = False
    outcome = shell("status")
    assert "not ready: no relay" in outcome.out
    assert "next: bazaar doctor" in outcome.err


def test_a_task_is_posted_worked_on_and_approved(shell: Shell, api: Served, tmp_path: Path) -> None:
    posted = shell("post", "-c", "text.count", "-i", "one two", "--accept", "human", "--title", "n")
    task = posted.out.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", task)
    assert f"next: bazaar task {task[:12]} --watch" in posted.err
    taken = shell("work", "next", "--json", "--wait", "5s").json
    assert (taken["task"], taken["media_type"]) == (task, "text/plain")
    assert taken["untrusted_input"] == "b25lIHR3bw=="
    assert shell("work", "heartbeat", task, "--progress", "50").status == OK
    (tmp_path / "result").write_bytes(b'{"words": 2}')
    delivered = shell("work", "deliver", task, "-i", "@result", "--json").json
    assert (delivered["state"], delivered["result_media_type"]) == ("delivered", "application/json")
    assert "next: bazaar fetch" in shell("tasks").err
    assert shell("fetch", task[:6]).out == '{"words": 2}'
    assert shell("approve", task).out == f"{task}  accepted\n"
    assert shell("approve", task).status == REFUSED
    fetched = shell("fetch", task, "-o", str(tmp_path / "copy"))
    assert (fetched.out, (tmp_path / "copy").read_bytes()) == ("", b'{"words": 2}')
    assert shell("audit", task).out.endswith("sound\n")


def test_lists_are_one_object_in_json_and_lines_with_tabs_in_a_pipe(
    shell: Shell, api: Served
) -> None:
    assert shell("tasks", "--json").json == {"tasks": []}
    assert "next: " in shell("tasks").err
    shell("post", "-c", "a")
    (row,) = shell("tasks").out.splitlines()
    assert row.split("\t")[1:4] == ["poster", "open", "a"]
    assert len(shell("tasks", "--json").json["tasks"]) == 1
    assert shell("offer", "text.count", "--exec", "wc -w", "--price", "5").out == "text.count\n"
    assert shell("offers", "--json").json["offers"][0]["command"] == "wc -w"
    assert shell("withdraw", "text.count").status == OK
    assert shell("withdraw", "text.count").status == NOT_FOUND
    assert shell("offers", "--json").json == {"offers": []}


def test_what_strangers_wrote_cannot_drive_the_terminal(shell: Shell, api: Served) -> None:
    api.client.offer(OfferRequest(capability="a", description="\u202edesrever\x07"))
    for outcome in (shell("find"), shell("find", "--json")):
        assert outcome.out.replace("\n", "").replace("\t", "").isprintable()
        assert "\u202e" not in outcome.out
    assert shell("find", "--json").json["found"][0]["untrusted_name"] == "evil\x1b[2Jname"


def test_exit_statuses_say_what_happened(shell: Shell, api: Served) -> None:
    assert shell("task", "abcd").status == NOT_FOUND
    task = shell("post", "-c", "a").out.strip()
    assert shell("approve", task).status == REFUSED
    assert shell("fetch", task).status == NOT_FOUND
    assert shell("work", "next", "-c", "other").status == TRY_AGAIN
    assert shell("work", "next").status == OK
    api.do(api.node.lose_lease(task))
    assert shell("work", "heartbeat", task).status == LEASE_LOST
    lost = shell("work", "deliver", task, "-i", "x", "--json")
    assert lost.status == LEASE_LOST
    assert json.loads(lost.err)["error"]["code"] == "stale"


def test_posting_twice_with_one_key_is_one_task(shell: Shell, api: Served, tmp_path: Path) -> None:
    file = tmp_path / "task.toml"
    file.write_text(
        'capability = "text.count"\ntitle = "from a file"\nidempotency_key = "k"\nprice = 3\n'
        'output_schema = { type = "object" }\ninput_file = "words.txt"\n'
    )
    (tmp_path / "words.txt").write_text("one two three")
    first = shell("post", str(file), "--json").json
    assert (first["untrusted_title"], first["price"]) == ("from a file", 3)
    assert shell("post", str(file), "--price", "4", "--json").json["id"] == first["id"]
    assert shell("work", "next", "-o", "input.txt").status == OK
    assert (tmp_path / "input.txt").read_text() == "one two three"


class Worker:
    """A worker at the API: what it does happens while a command waits."""

    def __init__(self, api: Served) -> None:
        self._api = api

    async def _do(self, result: bytes) -> None:
        taken = await self._api.node.next_task(capabilities=(), wait_s=10)
        assert taken is not None
        await self._api.node.watchers.reaches(1)
        await self._api.node.heartbeat(taken.task, progress=40, note="nearly\x1b[2J")
        await self._api.node.deliver(taken.task, result, media_type="text/plain")

    def start(self, result: bytes) -> None:
        self._api.do(self._api.node.watchers.reaches(0))  # those of the command before have left
        self._api.begin(self._do(result))


def test_waiting_shows_progress_and_writes_the_result(
    shell: Shell, api: Served, tmp_path: Path
) -> None:
    Worker(api).start(b"two")
    outcome = shell("post", "-c", "text.count", "-i", "one two", "--wait", "--timeout", "10s")
    assert (outcome.status, outcome.out) == (OK, "two")
    for word in ("post", "accept", "heartbeat", "nearly[2J", "running 40 %", "deliver"):
        assert word in outcome.err
    assert "next: bazaar audit" in outcome.err
    Worker(api).start(b"two")
    outcome = shell("post", "-c", "text.count", "--wait", "-o", str(tmp_path / "out"))
    assert (outcome.status, outcome.out) == (OK, "")
    assert (tmp_path / "out").read_bytes() == b"two"
    Worker(api).start(b"two")
    outcome = shell("post", "-c", "text.count", "--wait", "--json")
    assert outcome.json["task"]["state"] == "accepted"
    assert outcome.json["untrusted_result"] == "dHdv"


def test_waiting_ends_with_what_became_of_the_task(shell: Shell, api: Served) -> None:
    Worker(api).start(b"two")
    outcome = shell("post", "-c", "a", "--accept", "human", "--wait")
    assert (outcome.status, outcome.out) == (WAITS, "")
    assert "bazaar approve" in outcome.err
    outcome = shell("post", "-c", "b", "--wait", "--timeout", "100ms")
    assert outcome.status == TIMED_OUT
    assert "it goes on: bazaar task" in outcome.err

    async def cancel() -> None:
        await api.node.watchers.reaches(1)
        (last, *_) = await api.node.tasks(role=None, state=None, limit=1)
        await api.node.cancel(last.id, reason="changed my mind")

    api.do(api.node.watchers.reaches(0))
    api.begin(cancel())
    outcome = shell("post", "-c", "c", "--wait")
    assert outcome.status == REFUSED
    assert "ended cancelled: changed my mind" in outcome.err


def test_watching_tells_each_event_once(shell: Shell, api: Served) -> None:
    task = api.client.post(PostRequest(capability="a")).id
    Worker(api).start(b"x")
    outcome = shell("task", task, "--watch")
    assert outcome.status == OK
    kinds = [line.split()[1] for line in outcome.out.splitlines()]
    assert kinds == ["post", "accept", "heartbeat", "deliver"]
    lines = shell("task", task, "--watch", "--json").out.splitlines()
    assert json.loads(lines[-1])["task"]["state"] == "accepted"


def test_an_unsound_audit_is_no_success(shell: Shell, api: Served) -> None:
    task = shell("post", "-c", "a", "--accept", "human").out.strip()
    shell("work", "next")
    shell("work", "deliver", task, "-i", "x")
    assert shell("reject", task, "-r", "wrong").status == OK
    outcome = shell("audit", task)
    assert outcome.status == REFUSED
    assert "FAIL  every link" in outcome.out
    assert shell("audit", task, "--json").json["is_sound"] is False


@pytest.mark.parametrize("command", SHORT_COMMANDS, ids=" ".join)
def test_a_short_command_loads_nothing_heavy(command: tuple[str, ...], api: Served) -> None:
    code = (
        "import sys\n"
        "from bazaar_node.__main__ import run\n"
        f"run({[*command, '--home', str(api.home)]!r})\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert "msgspec" in loaded
    assert not loaded & HEAVY


def test_ctrl_c_ends_a_waiting_command_quietly(api: Served) -> None:
    task = api.client.post(PostRequest(capability="a")).id
    command = [sys.executable, "-m", "bazaar_node", "task", task, "--watch", "--home"]
    with subprocess.Popen(
        [*command, str(api.home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waiting:
        api.do(api.node.watchers.reaches(1))
        assert waiting.stdout is not None
        assert b"post" in waiting.stdout.readline()
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=10)
    assert (waiting.returncode, out, err) == (INTERRUPTED, b"", b"")


def test_a_reader_that_has_seen_enough_is_no_error(api: Served) -> None:
    for _ in range(200):
        api.client.post(PostRequest(capability="a"))
    command = f"{sys.executable} -m bazaar_node tasks --limit 200 --home {api.home} | head -1"
    done = subprocess.run(
        command, shell=True, check=False, capture_output=True, text=True, timeout=30
    )
    assert len(done.stdout.splitlines()) == 1
    assert "BrokenPipe" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_is_named_without_a_traceback(shell: Shell, home: Path) -> None:
    home.mkdir()
    (home / "bazaar.toml").mkdir()
    assert shell("config", "show").status == USAGE
    code = (
        "import sys\nfrom bazaar_node import __main__\n"
        "def broken(arguments): raise AssertionError('two and two')\n"
        "__main__.run = broken\n__main__.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == BUG
    assert "this is a bug: AssertionError: two and two" in done.stderr
    assert "Traceback" not in done.stderr
