"""``bazaar simulate``: what it lists, runs, refuses and draws."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bazaar_node.__main__ import run
from bazaar_protocol.errors import ConfigError
from bazaar_simulations.adversaries.registry import ADVERSARIES
from bazaar_simulations.commands import app
from bazaar_simulations.commands.results import Outputs
from bazaar_simulations.commands.table import table
from bazaar_simulations.population import plots
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.sweep import sweep
from bazaar_simulations.population.tables import settings

DOC = Path(__file__).parents[2] / "docs" / "simulations.md"


def test_every_row_of_the_documented_table_is_an_adversary() -> None:
    lines = DOC.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| attack |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip())
    assert set(rows) == {*ADVERSARIES, "no attack"}


def test_it_lists_all_adversaries(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in listed["adversaries"]} >= set(ADVERSARIES)
    assert {one["name"] for one in listed["worlds"]} >= {"calm", "crashes"}


def test_a_world_is_replayed_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["3", "--scenario", "lossy", "--seconds", "20"]
    assert run(["simulate", "replay", *arguments]) == 0
    first = capsys.readouterr().out
    assert "takes verdict" in first
    assert run(["simulate", "replay", *arguments]) == 0
    assert capsys.readouterr().out == first
    assert run(["simulate", "replay", "4", *arguments[1:]]) == 0
    assert capsys.readouterr().out != first


def test_one_seed_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "run", "ring", "--days", "3", "--agents", "20"]) == 0
    shown = capsys.readouterr().out
    assert "none from one seed" in shown
    assert "±" not in shown
    assert run(["simulate", "run", "ring", "--days", "3", "--agents", "20", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["figures"]["bad"]["half"] is None


def test_a_table_has_all_figures_and_says_which_goals_are_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.json"
    assert (
        table(attacks=("ring",), defences=("none", "ours"), seeds=2, outputs=Outputs(out=out)) == 0
    )
    said = capsys.readouterr().out
    assert "no attack" in said
    assert "goals met at 40%" in said
    rows = json.loads(out.read_text())["rows"]
    assert [(one["attack"], one["defence"]) for one in rows] == [
        ("no attack", "none"), ("no attack", "ours"), ("ring", "none"), ("ring", "ours"),
    ]  # fmt: skip
    assert rows[2]["figures"]["bad"]["mean"] > 0.3 > rows[3]["figures"]["bad"]["mean"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["run", "nobody"],
        ["run", "ring", "--share", "1.5"],
        ["run", "ring", "--agents", "5"],
        ["run", "ring", "--without", "luck"],
        ["table", "--attacks", "nobody"],
        ["table", "--seeds", "0"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(wrong: list[str]) -> None:
    assert run(["simulate", *wrong]) == 2


def test_where_runs_take_place_makes_no_difference() -> None:
    every = [Setting(attack, principals=20, rounds=10) for attack in ("ring", "spies")]
    done: list[float] = []
    alone = sweep(every, range(3), on_progress=done.append)
    assert sweep(every, [2, 1, 0], jobs=2) == alone
    assert list(alone) == every
    assert done == sorted(done)
    assert done[-1] == 6


def test_pictures_have_axes_units_and_intervals(tmp_path: Path) -> None:
    every = settings(["ring"], ["none", "ours"], [0.2, 0.4], principals=20)
    rows = sweep([Setting(one.attack, one.defence, one.share, principals=20, rounds=10)
                  for one in every], range(2))  # fmt: skip
    written = plots.draw(rows, tmp_path / "pictures")
    assert {path.suffix for path in written} == {".png", ".svg"}
    drawing = (tmp_path / "pictures" / "bad-ring.svg").read_text()
    assert "malicious principals (%)" in drawing
    assert "bad outcomes (% of served tasks)" in drawing
    assert "95 % confidence intervals" in drawing
    assert "LineCollection" in drawing  # the bars of the intervals
    assert (tmp_path / "pictures" / "bad-ring.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="pip install 'bazaar"):
        plots.draw({}, tmp_path)


def test_without_numpy_it_says_what_to_install() -> None:
    program = (
        "import sys\nsys.modules['numpy'] = None\n"
        "from bazaar_node.__main__ import run\nsys.exit(run(['simulate', 'list']))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert answer.returncode == 2
    assert b"pip install 'bazaar[simulations]'" in answer.stderr


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install 'bazaar"):
        sweep([Setting()], [0], engine="ray")


@pytest.mark.slow
def test_on_ray_the_figures_are_the_same() -> None:
    pytest.importorskip("ray", reason="Ray is an extra: pip install 'bazaar[ray]'")
    every = [Setting("ring", principals=20, rounds=10)]
    assert sweep(every, range(2), engine="ray") == sweep(every, range(2))


@pytest.mark.parametrize("command", [name for name in app if not name.startswith("-")])
def test_every_command_is_where_it_is_mounted_from(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Commands are named by import strings, and a wrong one shows only when it is used."""
    mounted = app[command].default_command
    assert callable(mounted)
    assert mounted.__module__.startswith("bazaar_simulations.commands.")
    assert run(["simulate", command, "--help"]) == 0
    last = capfd.readouterr().out.strip().splitlines()[-1]
    assert last.startswith(f"Example: bazaar simulate {command}")


def test_help_needs_none_of_what_simulations_need() -> None:
    program = (
        "import sys\nfrom bazaar_node.__main__ import run\n"
        "assert run(['simulate', '--help']) == 0\n"
        "assert not {'libp2p', 'numpy', 'matplotlib', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
