"""The commands that need no running node: init, key, config, doctor."""

import os
import re
from pathlib import Path

import pytest
from tests.served import served
from tests.shell import OK, TRY_AGAIN, USAGE, Shell

from bazaar_host import key_files
from bazaar_protocol.identity import parse_agent


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


def test_init_makes_an_agent_and_overwrites_nothing(shell: Shell, home: Path) -> None:
    relay = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWJ2yMDmBUWx1BZ9DvRzsUw4zZnAdmNo6s9C9qE8KbJAqZ"
    made = shell("init", "--name", "ada", "--relay", relay, "--no-passphrase")
    assert made.status == OK
    agent = made.out.strip()
    keys = key_files.read(home / "node.key", lambda: b"")
    assert parse_agent(agent) == keys.agent
    assert "recovery.key: move this offline" in made.err
    assert "no passphrase" in made.err
    assert (home.stat().st_mode & 0o77, (home / "recovery.key").stat().st_mode & 0o77) == (0, 0)
    (home / "recovery.key").rename(home.parent / "offline.key")
    again = shell("init", "--no-passphrase")
    assert not (home / "recovery.key").exists()
    assert again.status == USAGE
    assert "exists already" in again.err
    assert key_files.read(home / "node.key", lambda: b"").agent == keys.agent
    settings = {one["name"]: one for one in shell("config", "show", "--json").json["settings"]}
    assert settings["name"]["value"] == "ada"
    assert settings["relays"]["value"] == [relay]
    assert settings["relays"]["source"] == str(home / "bazaar.toml")
    assert settings["slots"]["source"] == "default"
    assert shell("key", "show", "--json").json["agent"] == agent


def test_the_offers_that_the_file_explains_are_understood(shell: Shell, home: Path) -> None:
    shell("init", "--no-passphrase")
    file = home / "bazaar.toml"
    text = file.read_text()
    table = text[text.index("# [[node.offers]]") :]
    file.write_text(text.replace(table, table.replace("# ", "")))
    settings = {one["name"]: one for one in shell("config", "show", "--json").json["settings"]}
    assert settings["offers"]["value"][0]["capability"] == "text.count"
    file.write_text(text + "[[node.offers]]\nprice = 3\n")
    assert "capability" in shell("config", "show").err


def test_a_key_is_locked_and_backed_up(shell: Shell, home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("correct horse\n")
    agent = shell("init", "--passphrase-file", str(secret)).out.strip()
    assert b"LOCKED" in (home / "node.key").read_bytes()
    assert b"LOCKED" in (home / "recovery.key").read_bytes()
    assert "locked by a passphrase" in shell("doctor").out
    copy = tmp_path / "copy.key"
    backup = ("key", "backup", str(copy), "--key-only", "--passphrase-file", str(secret))
    done = shell(*backup, "--new-passphrase-file", str(secret))
    assert done.status == OK, done.err
    assert key_files.read(copy, lambda: b"correct horse").agent == parse_agent(agent)
    assert shell(*backup).status == USAGE
    secret.write_text("wrong\n")
    assert shell("key", "show", "--passphrase-file", str(secret)).status == USAGE


def test_doctor_finds_what_is_wrong(shell: Shell, home: Path) -> None:
    outcome = shell("doctor", "--json")
    assert outcome.status == TRY_AGAIN
    levels = {check["what"]: check["level"] for check in outcome.json["checks"]}
    assert (levels["home"], levels["key"], levels["python"]) == ("fail", "fail", "ok")
    shell("init", "--no-passphrase")
    outcome = shell("doctor")
    assert outcome.status == OK
    assert "move this offline" in outcome.out
    (home / "node.key").chmod(0o644)
    outcome = shell("doctor")
    assert outcome.status == TRY_AGAIN
    assert "chmod 600" in outcome.out
    (home / "node.key").chmod(0o600)
    (home / "bazaar.toml").write_text("[node]\nslot = 3\n")
    assert "did you mean slots?" in shell("doctor").out


def test_doctor_dials_relays_and_asks_the_node(shell: Shell, home: Path) -> None:
    shell("init", "--no-passphrase")
    peer = "12D3KooWJ2yMDmBUWx1BZ9DvRzsUw4zZnAdmNo6s9C9qE8KbJAqZ"
    file = home / "bazaar.toml"
    file.write_text(f'[node]\nrelays = ["/ip4/127.0.0.1/tcp/1/p2p/{peer}"]\n')
    outcome = shell("doctor")
    assert outcome.status == TRY_AGAIN
    assert re.search(r"fail  relay +.*refused", outcome.out)
    with served(home):
        outcome = shell("doctor")
        assert "process 1 answers" in outcome.out
        assert re.search(r"ok +relay +.* is connected", outcome.out)
