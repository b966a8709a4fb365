"""Real programs: what they are told, what they may say, and that none outlives its purpose."""

import asyncio
import contextlib
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bazaar_node.work.programs import run_program
from bazaar_protocol.errors import ConfigError, ProgramFailed

PYTHON = shlex.quote(sys.executable)


def ignore(percent: int | None, note: str) -> None:
    pass


def python(code: str) -> str:
    return f"{PYTHON} -c {shlex.quote(code)}"


async def run(command: str, folder: Path, *, timeout_s: float = 30.0) -> bytes:
    return await run_program(
        command,
        b'{"task": 1}',
        task_id="t1",
        folder=folder,
        on_progress=ignore,
        timeout_s=timeout_s,
        output_bytes_max=100_000,
    )


def wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


async def until_written(path: Path) -> str:
    await asyncio.to_thread(wait_for, lambda: path.exists() and path.read_text().endswith("\n"))
    return await asyncio.to_thread(path.read_text)


async def until_gone(*pids: int) -> None:
    await asyncio.to_thread(wait_for, lambda: not any(map(is_alive, pids)))


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
with open(os.environ["BAZAAR_TASK_DIR"] + "/pids", "w") as file:
    print(os.getpid(), child.pid, file=file)
time.sleep(1000)
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + FAMILY


async def test_a_program_gets_the_task_and_gives_the_result(tmp_path: Path) -> None:
    assert await run("cat", tmp_path) == b'{"task": 1}'


async def test_a_program_sees_its_folder_and_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAZAAR_TOKEN", "secret")
    monkeypatch.setenv("ORDINARY", "kept")
    folder = tmp_path / "deep" / "task"
    printed = (await run("env", folder)).decode().splitlines()
    ours = {line for line in printed if line.startswith("BAZAAR_")}
    assert ours == {f"BAZAAR_TASK_DIR={folder}", "BAZAAR_TASK_ID=t1"}
    assert "ORDINARY=kept" in printed
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


async def test_words_are_split_but_no_shell_looks_at_them(tmp_path: Path) -> None:
    assert await run("echo '$HOME' ';' a\\ b", tmp_path) == b"$HOME ; a b\n"
    assert await run("sh -c 'cat | tr a-z A-Z'", tmp_path) == b'{"TASK": 1}'


@pytest.mark.parametrize("command", ["", "  ", "echo 'open"])
async def test_what_is_no_command_is_refused(tmp_path: Path, command: str) -> None:
    with pytest.raises(ConfigError):
        await run(command, tmp_path)


async def test_a_program_that_is_missing_fails_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="no-such-program cannot be started: No such file"):
        await run("no-such-program", tmp_path)


async def test_a_failure_tells_the_last_words(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match=r"exit status 3: \[31mlast") as caught:
        await run("sh -c 'echo first >&2; printf \"\\033[31mlast\\n\" >&2; exit 3'", tmp_path)
    assert caught.value.status == 3
    assert caught.value.lines == ("first", "[31mlast")


async def test_a_signal_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="SIGKILL"):
        await run("sh -c 'kill -9 $$'", tmp_path)


async def test_lines_on_standard_error_are_progress(tmp_path: Path) -> None:
    seen: list[tuple[int | None, str]] = []
    lines = [
        "hello",
        "10%",
        "progress 20 page 2",
        "30% page 3",
        "progress 999",
        "x" * 5000,
        "40%\r50%",
    ]
    script = f"import sys, time\nfor line in {lines}:\n  print(line, file=sys.stderr, flush=True)\n"
    await run_program(
        python(script + "  time.sleep(.3)"),
        b"",
        task_id="t",
        folder=tmp_path,
        on_progress=lambda percent, note: seen.append((percent, note)),
        timeout_s=30,
    )
    assert seen[:5] == [
        (None, "hello"), (10, ""), (20, "page 2"), (30, "page 3"), (30, "progress 999"),
    ]  # fmt: skip
    assert len(seen[5][1]) == 256
    assert seen[-1] == (50, "")


async def test_a_flood_of_progress_is_thinned_out(tmp_path: Path) -> None:
    seen: list[int | None] = []
    await run_program(
        python("import sys\nfor i in range(100001): print(f'{i // 1000}%', file=sys.stderr)"),
        b"",
        task_id="t",
        folder=tmp_path,
        on_progress=lambda percent, _: seen.append(percent),
        timeout_s=30,
    )
    assert seen[-1] == 100
    assert len(seen) < 100


async def test_too_much_output_ends_the_program(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="more than 100000 bytes"):
        await run("cat /dev/zero", tmp_path)
    with pytest.raises(ProgramFailed, match="more than 100000 bytes"):
        await run("head -c 100001 /dev/zero", tmp_path)
    assert len(await run("head -c 100000 /dev/zero", tmp_path)) == 100_000


@pytest.mark.parametrize("code", [FAMILY, STUBBORN], ids=["obedient", "stubborn"])
async def test_a_deadline_ends_the_whole_family(tmp_path: Path, code: str) -> None:
    with pytest.raises(ProgramFailed, match="not done after 1 s"):
        await run(python(code), tmp_path, timeout_s=1)
    parent, child = map(int, (tmp_path / "pids").read_text().split())
    assert not is_alive(parent)
    await until_gone(child)


async def test_cancelling_ends_the_whole_family(tmp_path: Path) -> None:
    task = asyncio.create_task(run(python(FAMILY), tmp_path))
    pids = [int(pid) for pid in (await until_written(tmp_path / "pids")).split()]
    assert all(map(is_alive, pids))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_gone(*pids)


async def test_what_a_finished_program_left_behind_is_ended(tmp_path: Path) -> None:
    command = "sh -c 'sleep 1000 & echo $! > \"$BAZAAR_TASK_DIR/pids\"; echo done'"
    assert await run(command, tmp_path) == b"done\n"
    await until_gone(int((tmp_path / "pids").read_text()))


async def test_who_leaves_the_group_cannot_hold_us_up(tmp_path: Path) -> None:
    command = "setsid sh -c 'echo $$ > \"$BAZAAR_TASK_DIR/pids\"; exec sleep 1000'"
    try:
        assert await run(f"sh -c {shlex.quote(command + ' & echo done; sleep .2')}", tmp_path)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(await until_written(tmp_path / "pids")), signal.SIGKILL)


async def test_a_program_ends_with_a_node_that_was_killed(tmp_path: Path) -> None:
    node = f"""
import asyncio
from pathlib import Path
from bazaar_node.work.programs import run_program
asyncio.run(run_program({python(FAMILY)!r}, b"", task_id="t", folder=Path({str(tmp_path)!r}),
                        on_progress=print, timeout_s=1000))
"""
    parent = subprocess.Popen([sys.executable, "-c", node])  # noqa: ASYNC220
    try:
        pids = [int(pid) for pid in (await until_written(tmp_path / "pids")).split()]
        assert all(map(is_alive, pids))
    finally:
        parent.kill()
        parent.wait()
    await until_gone(*pids)
