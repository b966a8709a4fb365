"""The demo as people run it: it tells what happened, and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.xdist_group("heavy")

README = Path(__file__).parents[2] / "README.md"
DEMO_S_MAX = 100.0  # it takes a quarter of that, unless the machine is busy
END_S_MAX = 2.0
LINES = (
    r"relay r0 READY on loopback",
    r"nodes ada bo cy dee mal READY",
    r"bo gives t0 to dee directly: 1 of 1 slots taken",
    r'ada posts t1 "extract table from report\.csv"  auction, window 1 s',
    r"bids: bo 40 \(\.93\)  cy 35 \(\.91\)  mal 30 \(\.40\)      dee DECLINES busy",
    r"award t1 → cy  epoch 1  lease 5 s  \(the rule, computed again here, picks cy too\)",
    r"cy works, and says so  ♥ \d+%  ♥ \d+%  ♥ \d+%",
    r"kill -9 cy  \(process \d+ is gone\)",
    r"lease lost after \d+\.\d s of silence → award t1 → bo  epoch 2",
    r"cy is back, with all it knew  \(process \d+\)",
    r"cy delivers for epoch 1 → REFUSED, exit status 5: epoch 1 is over.*",
    r"bo delivers sha256:[0-9a-f]{8}…  \d+ bytes  schema ✓ check ✓ → accepted, both logs signed",
    r"ada posts t2, the same for mal alone, who is cheapest",
    r"mal delivers sha256:[0-9a-f]{8}…  \d+ bytes  schema ✓ check ✗ → rejected: a row is missing.*",
    r'mal turns ada\'s verdict into "accepted" → REFUSED by r0: not signed by ada',
    r"mal signs another result as entry 3 of its log → r0 has both: a proof for ever",
    r"shunned by ada bo cy dee: each holds proof [0-9a-f]{12} against mal",
    r"mal posts t3 → REFUSED by r0: convicted by equivocation proof [0-9a-f]{12}",
    r"bazaar reputation mal → 0\.00: it contradicted itself, which is proved for ever",
    r"bazaar why bo → 0\.\d\d to rely on, 0\.\d\d expected, from 1\.0 good and 0\.0 bad jobs",
    r"bazaar audit [0-9a-f]{12} → sound",
)


@contextmanager
def demo(folder: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Run the demo with ``folder`` for its temporary files; kill it if it goes on too long."""
    environ = os.environ | {"TMPDIR": str(folder), "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "bazaar_node", "demo", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, cwd=folder,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # it ends what it started, which kill -9 would not
                process.wait(10)


def left_behind(folder: Path) -> list[psutil.Process]:
    """Return the processes that still know ``folder``, after a moment for those that just ended."""
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or ())
    ]
    _, alive = psutil.wait_procs(found, timeout=3)
    return list(alive)


def test_the_demo_tells_what_happened_and_leaves_nothing_behind(tmp_path: Path) -> None:
    began = time.monotonic()
    with demo(tmp_path) as process:
        out, err = process.communicate(timeout=DEMO_S_MAX)
    assert process.returncode == 0, out + err
    assert err == ""
    told = list(re.findall(r"^ *(\d+\.\d) (.*)$", out, re.MULTILINE))
    assert len(told) == len(LINES), out
    for (_, text), line in zip(told, LINES, strict=True):
        assert re.fullmatch(line, text), text
    seconds = [float(at) for at, _ in told]
    assert seconds == sorted(seconds)
    assert seconds[-1] <= time.monotonic() - began
    assert "✓ epochs rise and never overlap: 1, 2" in out
    story, _, advice = out.partition("\n      \n")
    assert "try next" in advice
    block = re.search(r"^```text\n(.*?)\n```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert block
    assert without_numbers(story) == without_numbers(block[1]), "the README shows the same"
    assert "\x1b" not in out, "no colour where there is no terminal"
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def without_numbers(text: str) -> list[str]:
    """Return the lines of ``text`` without what differs from run to run."""
    plain = re.sub(r"(sha256:|audit |proof |contract )[0-9a-f]{8,}", r"\1#", text)
    plain = re.sub(r"\d+", "#", plain)
    return [line.strip() for line in plain.splitlines()]


def test_an_interrupted_demo_ends_all_it_started(tmp_path: Path) -> None:
    with demo(tmp_path, "--json") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["what"] == "award":
                break
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 6, "a relay and five nodes"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - began < END_S_MAX
    assert psutil.wait_procs(started, timeout=3)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_goes_wrong_says_what_was_expected_and_where_the_logs_are(
    tmp_path: Path,
) -> None:
    with demo(tmp_path, "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["what"] == "relay"
        ada = None
        while ada is None:  # a process that is being started cannot be waited for
            ada = next(filter(is_ada, psutil.Process(process.pid).children()), None)
        ada.kill()
        last = [json.loads(line) for line in process.stdout][-1]
        assert process.wait(DEMO_S_MAX) == 1
    assert last["what"] == "failed"
    assert "expected ada to be READY; it ended with status -9" in last["text"]
    assert (Path(last["logs"]) / "ada.log").exists()
    assert left_behind(tmp_path) == []


def is_ada(process: psutil.Process) -> bool:
    return "ada" in process.cmdline()
