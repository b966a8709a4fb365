"""What surrounds a process: its logs, its metrics, its signals, its clocks."""

import asyncio
import io
import json
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bazaar_host import clock, logs
from bazaar_host.metrics import Metrics, render

WAITER = """
import asyncio, sys
from bazaar_host.signals import stop_on_signals

async def main() -> None:
    stop = stop_on_signals()
    print("ready", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    if sys.argv[1] == "hang":
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def test_machines_get_json_without_payloads(out: io.StringIO) -> None:
    logs.set_up("info", to=out)
    logs.logger("intake").debug("too quiet")
    logs.logger("intake").info("stored", record=bytes(32), payload=b"secret" * 9, count=2)
    line = json.loads(out.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "stored",
        "level": "info",
        "part": "intake",
        "record": "000000000000",
        "payload": "<54 bytes>",
        "count": 2,
    }


def test_people_get_lines_and_no_stranger_drives_their_terminal(out: io.StringIO) -> None:
    logs.set_up("debug", "human", to=out)
    logs.logger("link").info("said", name="\x1b[2Jbob\u202e\nforged line")
    assert "[2Jbob forged line" in out.getvalue()
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


def test_other_libraries_are_shown_from_warning_on(out: io.StringIO) -> None:
    logs.set_up("debug", "json", to=out)
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("dial %s failed", "\x1b[31mx")
    line = json.loads(out.getvalue())
    assert (line["event"], line["logger"]) == ("dial [31mx failed", "some.library")
    assert line["level"] == "warning"


def test_an_exception_is_logged_without_local_variables(out: io.StringIO) -> None:
    logs.set_up("info", "human", to=out)
    seed = "do not " + "show me"
    try:
        int("x" + seed[:0])
    except ValueError:
        logs.logger("node").exception("failed")
    assert "ValueError" in out.getvalue()
    assert seed not in out.getvalue()


def test_metrics_of_two_objects_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.counter("records", "Records stored.", ["kind"]).labels(kind="post").inc(3)
    second.counter("records", "Records stored.", ["kind"])
    assert b'bazaar_records_total{kind="post"} 3.0' in render(first.registry)
    assert b"bazaar_records_total{" not in render(second.registry)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("patience", ["end", "hang"])
async def test_the_first_signal_asks_and_the_second_ends(
    number: signal.Signals, patience: str
) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WAITER, patience, stdout=pipe
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
            process.send_signal(number)
            assert await process.stdout.readline() == b"stopping\n"
            if patience == "hang":
                process.send_signal(number)
            assert await process.wait() == (128 + number if patience == "hang" else 0)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_clocks_count_milliseconds() -> None:
    assert abs(clock.now_ms() - datetime.now(UTC).timestamp() * 1000) < 10_000
    before = clock.monotonic_ms()
    assert clock.monotonic_ms() - before < 10_000


def test_a_log_without_room_ends_no_program() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device here that is always full")
    out = full.open("w", buffering=1)
    logs.set_up("info", to=out)
    for number in range(3):
        logs.logger("relay").info("still here", number=number)
        logging.getLogger("hypercorn").error("still here")
    with pytest.raises(OSError, match="No space left"):
        out.close()
