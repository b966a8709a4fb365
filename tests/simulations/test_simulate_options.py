"""``bazaar simulate``: what its options mean, what it refuses, and what Ctrl-C leaves behind."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import psutil
import pytest

from bazaar_node.__main__ import run
from bazaar_node.outcomes import INTERRUPTED
from bazaar_protocol.errors import ConfigError
from bazaar_simulations.commands import app
from bazaar_simulations.commands.asking import Asked, is_world, setting_of
from bazaar_simulations.commands.results import Outputs
from bazaar_simulations.population.figures import FIGURES
from bazaar_simulations.population.labels import LABELS
from bazaar_simulations.population.mixture import mixed
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.sweep import SMALL_MOST, is_large, sweep

EXAMPLES = Path(__file__).parents[2] / "examples"
DOC = Path(__file__).parents[2] / "docs" / "simulations.md"


def test_adversaries_attack_together_each_with_its_share() -> None:
    asked = Asked(("Slanderer:0.2",), share=0.1, agents=50, days=20.0)
    setting = setting_of("sybil-x10", asked)
    assert setting.mix == (("Sybil x10", 0.1), ("slanderer", 0.2))
    assert setting.share == pytest.approx(0.3)
    assert (setting.principals, setting.rounds) == (50, 20)
    assert setting_of("market", Asked(("ring:0.2",))) == mixed([("ring", 0.2)])
    assert setting_of("market", Asked()).share == 0
    assert setting_of("ring", Asked()) == Setting("ring")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["rign"], "did you mean ring?"),
        (["crashs"], "did you mean crashes?"),
        (["xyzzy"], "there are independent"),
        (["ring", "--attack", "slandrer:0.1"], "did you mean slanderer?"),
        (["ring", "--attack", "slanderer"], "NAME:SHARE"),
        (["ring", "--attack", "slanderer:much"], "NAME:SHARE"),
        (["ring", "--attack", "slanderer:1.5"], "below 1"),
        (["ring", "--share", "0.6", "--attack", "slanderer:0.4"], "make 100% malicious"),
        (["market", "--share", "0.4"], "--attack NAME:SHARE"),
        (["ring", "--share", "-0.1"], "--share is between"),
        (["ring", "--days", "2.5"], "whole"),
        (["ring", "--days", "1"], "--days is between"),
        (["ring", "--seconds", "9"], "a market has --days"),
        (["ring", "--agents", "10000000"], "--agents is between"),
        (["ring", "--agents", "5000", "--defence", "beta"], "fewer"),
        (["ring", "--defence", "lock"], "is not a defence"),
        (["ring", "--without", "lukc"], "is not a part of ours"),
        (["ring", "--out", "nowhere/file.json"], "there is no folder"),
        (["ring", "--report", "."], "this is a folder"),
        (["crashes", "--attack", "ring:0.1"], "--attack is for a market"),
        (["crashes", "--days", "1", "--seconds", "5"], "not both"),
        (["crashes", "--agents", "0"], "--agents of a world is between"),
        (["crashes", "--plots", "pictures"], "--report"),
        (["./nowhere.py:Mine"], "there is no file"),
        (["retaliator", "--agents", "90000"], "take fewer agents"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_explained(
    options: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "run", *options]) == 2
    answer = capfd.readouterr()
    assert said in answer.err
    assert answer.out == ""


def test_who_has_many_identities_soon_needs_the_large_population() -> None:
    assert not is_large(Setting("ring", principals=SMALL_MOST))
    assert is_large(Setting("Sybil x10", principals=SMALL_MOST))
    assert is_large(Setting("ring", principals=SMALL_MOST + 1))


def test_a_large_population_runs_by_the_same_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "run", "ring", "--agents", "4000", "--days", "6", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["principals"] == 4000
    assert 0 < row["figures"]["bad"]["mean"] < 0.5


def documented() -> list[str]:
    lines = DOC.read_text(encoding="utf-8").splitlines()
    found = [line.partition("#")[0] for line in lines if line.startswith("bazaar simulate ")]
    found += re.findall(
        r"`(bazaar simulate (?:run|table|list|eigentrust) [^`…]*)`", "\n".join(lines)
    )
    return [one.strip() for one in found]


@pytest.mark.parametrize("line", sorted(set(documented())))
def test_every_documented_command_has_these_options(line: str) -> None:
    command, bound, _ = app.parse_args(
        shlex.split(line)[2:], print_error=False, exit_on_error=False
    )
    assert command.__name__ in {"list_all", "run", "table", "eigentrust", "replay"}
    if command.__name__ == "run" and not is_world(bound.args[0]):
        asked = bound.arguments.get("asked", Asked())
        assert setting_of(bound.args[0], asked).share <= 0.9


# Reports.


class Reader(HTMLParser):
    """Checks that what is opened is closed, and collects text and addresses."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(path: Path) -> tuple[Reader, str]:
    reader = Reader()
    text = path.read_text(encoding="utf-8")
    reader.feed(text)
    assert reader.open == []
    assert "script" not in reader.tags
    assert all(address.startswith("#") for address in reader.addresses)
    assert "://" not in text
    assert not re.search(r"url\((?!#)", text)
    return reader, " ".join(" ".join(reader.texts).split())


def test_a_report_says_where_it_comes_from_and_what_missed_its_goal(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    options = ["--attacks", "ring", "--attacks", "Sybil x10", "--defences", "none",
               "--defences", "ours", "--agents", "20", "--seeds", "2"]  # fmt: skip
    before = time.time()
    assert run(["simulate", "table", *options, "--report", str(path)]) == 0
    reader, text = read(path)
    assert "bazaar simulate table --attacks ring --attacks 'Sybil x10'" in text
    assert time.strftime("%Y-%m-%d", time.localtime(before)) in text
    assert "seeds 0 to 1" in text
    assert "bazaar 0." in text
    assert "What missed its goal" in text
    assert "amplification" in text
    assert {"svg", "table", "caption", "figure"} <= reader.tags
    assert "±" in text
    assert "95 % confidence intervals" in text


def test_a_report_of_one_run_has_all_its_figures(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    options = ["ring", "--agents", "20", "--days", "6", "--report", str(path)]
    assert run(["simulate", "run", *options]) == 0
    _, text = read(path)
    for figure in ("bad outcomes", "tasks done well", "newcomers' share", "damage", "messages"):
        assert figure in text
    assert "one seed, no intervals" in text


def test_a_report_of_worlds_says_which_they_were(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    options = ["calm", "--agents", "2", "--seconds", "20", "--seeds", "2", "--report", str(path)]
    assert run(["simulate", "run", *options]) == 0
    _, text = read(path)
    assert "2 nodes, 1 relay" in text
    assert "None was broken." in text


def test_nothing_that_somebody_typed_is_markup(tmp_path: Path) -> None:
    own = tmp_path / "x<script>alert(1)<"
    own.mkdir()
    adversary = own / "a.py"
    adversary.write_text((EXAMPLES / "my_adversary.py").read_text(encoding="utf-8"))
    path = tmp_path / "report.html"
    name = f"{adversary}:Sleeper"
    options = [name, "--agents", "20", "--days", "4", "--report", str(path)]
    assert run(["simulate", "run", *options]) == 0
    _, text = read(path)
    assert "x<script>alert(1)<" in text


# Code of one's own.


def test_an_adversary_of_ones_own_is_named_by_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{EXAMPLES / 'my_adversary.py'}:Sleeper"
    options = ["--defence", "none", "--share", "0.2", "--agents", "40", "--json"]
    assert run(["simulate", "run", name, *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["figures"]["bad"]["mean"] > 0.2


def test_a_policy_of_ones_own_is_named_by_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{EXAMPLES / 'my_policy.py'}:Grudge"
    options = ["--defence", name, "--agents", "40", "--json"]
    assert run(["simulate", "run", "ring", *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert 0.08 < row["figures"]["bad"]["mean"] < 0.4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_adversary.py:Nobody", "there is no 'Nobody'"),
        ("my_policy.py:Grudge", "is no subclass of Adversary"),
    ],
)
def test_what_is_no_adversary_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        setting_of(str(EXAMPLES / name), Asked())


@pytest.mark.parametrize("example", ["my_adversary.py", "my_policy.py"])
def test_examples_run_by_themselves(example: str) -> None:
    command = [sys.executable, str(EXAMPLES / example)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110)
    assert answer.stdout.count("%") >= 6
    assert answer.stderr == ""


# Ctrl-C.


def stopped(options: list[str], when: Callable[[psutil.Process], bool]) -> tuple[int, str, str]:
    """Interrupt a run as a terminal does, at the right moment."""
    command = [sys.executable, "-m", "bazaar_node", "simulate", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 60
    while not _is_time(process.pid, when) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells all processes
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def _is_time(pid: int, when: Callable[[psutil.Process], bool]) -> bool:
    try:
        return when(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return True


def has_worked(cpu_s: float) -> Callable[[psutil.Process], bool]:
    """Return what tells whether a process and its children have used so much of the processor."""

    def has(process: psutil.Process) -> bool:
        every = [process, *process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in every) > cpu_s

    return has


@pytest.mark.slow
def test_an_interrupted_sweep_keeps_what_is_done(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    options = ["table", "--attacks", "ring", "--defences", "none", "--defences", "ours",
               "--seeds", "2", "--agents", "300", "--out", str(out)]  # fmt: skip
    status, said, complaint = stopped(options, has_worked(8))
    assert status == INTERRUPTED
    assert re.search(r"stopped after \d+ of 8 runs", complaint)
    assert "Traceback" not in said + complaint
    kept = json.loads(out.read_text())
    assert kept["stopped"].startswith("stopped after")
    assert 1 <= len(kept["rows"]) < 4
    assert "no attack" in said


@pytest.mark.slow
def test_an_interrupted_world_says_how_far_it_got() -> None:
    status, said, complaint = stopped(
        ["run", "calm", "--seeds", "500", "--days", "1"], has_worked(4)
    )
    assert status == INTERRUPTED
    assert complaint.startswith("stopped in seed ")
    assert "Traceback" not in said + complaint


def test_a_sweep_without_a_terminal_shows_no_bar(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "run", "ring", "--agents", "20", "--days", "3"]) == 0
    assert capfd.readouterr().err == ""


def test_every_figure_has_a_label() -> None:
    assert set(LABELS) == set(FIGURES)


def test_files_are_checked_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="has to be a folder"):
        Outputs(plots=file).check()
    Outputs(plots=tmp_path / "new" / "folder", out=file).check()


def test_progress_counts_the_parts_of_runs() -> None:
    seen: list[float] = []
    sweep([Setting("ring", principals=150, rounds=60)], [0], on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert any(0 < one < 1 for one in seen)
