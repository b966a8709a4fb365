"""What packages a relay calls commands that exist, with options that they take.

The container is not built here: that needs an engine and the network.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bazaar_relay.settings import FileSettings

PACKAGING = Path(__file__).parents[2] / "packaging"
UNIT = PACKAGING / "bazaar-relay.service"
DOCKERFILE = PACKAGING / "Dockerfile"


def _help(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bazaar_node", *command, "--help"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def _in_unit(name: str) -> str:
    (line,) = (one for one in UNIT.read_text().splitlines() if one.startswith(f"{name}="))
    return line.partition("=")[2]


def _in_dockerfile(name: str) -> list[str]:
    lines = DOCKERFILE.read_text().splitlines()
    (line,) = (one for one in lines if one.startswith(f"{name} ["))
    return [str(one) for one in json.loads(line.partition(" ")[2])]


@pytest.mark.parametrize(
    "command",
    [shlex.split(_in_unit("ExecStart")), [*_in_dockerfile("ENTRYPOINT"), *_in_dockerfile("CMD")]],
    ids=["unit", "container"],
)
def test_the_relay_is_run_by_a_command_that_exists(command: list[str]) -> None:
    program, *arguments = command
    assert program.endswith("/bin/bazaar")
    words = [one for one in arguments if not one.startswith(("-", "/")) and ":" not in one]
    assert words == ["relay", "up"]
    options = [one for one in arguments if one.startswith("--")]
    told = _help(*words)
    assert options
    assert all(re.search(rf"{option}\b", told) for option in options)
    listen = arguments[arguments.index("--listen") + 1]
    assert FileSettings(listen=[listen]).listen == [listen]


def test_the_container_is_filled_as_everything_else_is() -> None:
    """By an installer that knows overrides: plain pip refuses these requirements."""
    text = DOCKERFILE.read_text()
    assert "uv pip install" in text
    assert not re.search(r"bin/pip install[^\n]* \.", text)


def test_both_ask_for_health_where_the_relay_serves_it() -> None:
    assert ":8001/readyz" in DOCKERFILE.read_text()
    assert "0.0.0.0:8001" in _in_dockerfile("CMD")
    assert _in_unit("ExecStart").endswith(":8001")


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    here = tmp_path / UNIT.name
    # It looks whether the program is there.
    here.write_text(UNIT.read_text().replace("/opt/bazaar/bin/bazaar", sys.executable))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(here)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    about_it = [line for line in done.stderr.splitlines() if UNIT.stem in line]
    assert (done.returncode, about_it) == (0, []), done.stderr
