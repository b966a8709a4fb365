"""Backups: all that is needed, readable by their owner only, and never taken for the newest."""

import tarfile
from pathlib import Path

import pytest
from tests.log_relays import extend, genesis
from tests.shell import BUG, OK, TRY_AGAIN, USAGE, Shell

from bazaar_host import key_files
from bazaar_node import backups
from bazaar_node.market.events import Logged
from bazaar_node.settings import NodeSettings
from bazaar_node.storage.store import NodeStore
from bazaar_protocol.errors import ConfigError, KeyFileError, StorageError
from bazaar_protocol.identity import Keypair, to_did

RECOVERY = Keypair.from_name("recovery")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text("correct horse\n")
    return path


@pytest.fixture
def shell(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "home", capfd)


def at(shell: Shell, home: Path) -> Shell:
    return Shell(home, shell._capture)


def correct() -> bytes:
    return b"correct horse"


def test_a_home_goes_into_a_file_and_comes_out_of_it(
    shell: Shell, secret: Path, tmp_path: Path
) -> None:
    agent = shell("init", "--name", "ada", "--no-passphrase").out.strip()
    file = tmp_path / "ada.backup"
    made = shell("key", "backup", str(file), "--passphrase-file", str(secret))
    assert made.status == OK, made.err
    assert file.stat().st_mode & 0o777 == 0o600
    again = shell("key", "backup", str(file), "--passphrase-file", str(secret))
    assert again.status == USAGE
    assert "overwrites nothing" in again.err
    with tarfile.open(file) as tar:
        key = tar.extractfile("node.key")
        assert key is not None
        assert b"LOCKED" in key.read()
        assert "recovery.key" not in tar.getnames()

    other = at(shell, tmp_path / "other")
    done = other("key", "restore", str(file), "--passphrase-file", str(secret), "--json")
    assert done.status == OK, done.err
    assert done.json["agent"] == agent
    assert 0 <= done.json["age_ms"] < 60_000
    assert f"bazaar recover --home {other.home}" in done.err
    assert key_files.read(other.home / "node.key", correct).agent
    assert b"LOCKED" in (other.home / "node.key").read_bytes()
    assert (other.home / "bazaar.toml").read_text() == (shell.home / "bazaar.toml").read_text()
    twice = other("key", "restore", str(file), "--passphrase-file", str(secret))
    assert twice.status == USAGE
    assert "exists already" in twice.err
    # It may not sign: neither the node nor doctor calls it sound.
    up = other("up", "--passphrase-file", str(secret))
    assert up.status == BUG
    assert "next: bazaar recover" in up.err
    doctor = other("doctor")
    assert doctor.status == TRY_AGAIN
    assert "may not sign yet" in doctor.out
    assert "store" in shell("doctor").out


def test_a_key_alone_is_a_backup_too(shell: Shell, secret: Path, tmp_path: Path) -> None:
    agent = shell("init", "--no-passphrase").out.strip()
    file = tmp_path / "ada.key"
    backup = ("key", "backup", str(file), "--key-only", "--passphrase-file", str(secret))
    assert shell(*backup).status == OK
    assert shell(*backup).status == USAGE
    other = at(shell, tmp_path / "other")
    options = ("--passphrase-file", str(secret), "--no-passphrase")
    done = other("key", "restore", str(file), *options)
    assert (done.status, done.out.strip()) == (OK, agent)
    assert "nobody knows how old" in done.err
    assert b"LOCKED" not in (other.home / "node.key").read_bytes()
    up = other("up")
    assert up.status == BUG, "else it would begin its log a second time"
    assert f"type: bazaar recover --home {other.home}" in up.err


async def test_the_store_is_copied_while_it_is_written(tmp_path: Path) -> None:
    keys = Keypair.from_name("ada")
    node = NodeSettings(home=tmp_path / "home")
    key_files.write(node.keys.key_path, keys, None)
    log = extend(keys, [genesis(keys, RECOVERY)], 3)
    async with NodeStore.open(node.database_path) as store:
        await store.claim_identity(keys.agent)
        await store.write([Logged(record) for record in log[:2]])
        first = backups.write(node, tmp_path / "first", b"correct horse", now_ms=77)
        await store.write([Logged(record) for record in log[2:]])
        assert await store.backup_ms() is None, "the copy alone is a backup"
        second = backups.write(node, tmp_path / "second", b"correct horse", now_ms=78)
    assert (first.log_seq, second.log_seq) == (2, 4)
    assert [path.name for path in node.home.glob(".backup*")] == []


async def test_what_is_restored_is_what_was_there(tmp_path: Path) -> None:
    keys = Keypair.from_name("ada")
    node = NodeSettings(home=tmp_path / "home")
    key_files.write(node.keys.key_path, keys, None)
    log = extend(keys, [genesis(keys, RECOVERY)], 3)
    async with NodeStore.open(node.database_path) as store:
        await store.claim_identity(keys.agent)
        await store.write([Logged(record) for record in log])
    backups.write(node, tmp_path / "file", b"correct horse", now_ms=77)
    restored = NodeSettings(home=tmp_path / "other")
    manifest = backups.restore(tmp_path / "file", restored.home, correct, leave_open=True)
    assert manifest == backups.Manifest(to_did(keys.agent), 77, 4)
    assert backups.made_ms(restored.database_path) == 77
    assert backups.made_ms(node.database_path) is None
    async with NodeStore.open(restored.database_path) as store:
        assert await store.log(1, 9) == [record.raw for record in log]
        assert await store.backup_ms() == 77


def test_a_backup_that_is_none_leaves_no_agent_behind(
    shell: Shell, secret: Path, tmp_path: Path
) -> None:
    shell("init", "--no-passphrase")
    file = tmp_path / "ada.backup"
    backups.write(NodeSettings(home=shell.home), file, b"correct horse", now_ms=77)
    other = tmp_path / "other"
    with pytest.raises(KeyFileError, match="passphrase"):
        backups.restore(file, other, lambda: b"wrong")
    blank = tmp_path / "blank.tar"
    with tarfile.open(blank, "w"):
        pass
    for wrong, error in (
        (blank, ConfigError),
        (tmp_path / "secret", KeyFileError),
        (tmp_path / "nothing", ConfigError),
        (cut(file), (ConfigError, KeyFileError)),
    ):
        with pytest.raises(error):
            backups.restore(wrong, other, correct)
    assert not (other / "node.key").exists()


async def test_a_damaged_store_is_not_restored(tmp_path: Path) -> None:
    keys = Keypair.from_name("ada")
    node = NodeSettings(home=tmp_path / "home")
    key_files.write(node.keys.key_path, keys, None)
    async with NodeStore.open(node.database_path) as store:
        await store.claim_identity(keys.agent)
    file = tmp_path / "file"
    backups.write(node, file, b"correct horse", now_ms=77)
    raw = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        begins = tar.getmember("node.sqlite3").offset_data
    raw[begins + 4096 : begins + 8192] = bytes(4096)
    file.write_bytes(raw)
    with pytest.raises(StorageError):
        backups.restore(file, tmp_path / "other", correct)
    assert not (tmp_path / "other" / "node.sqlite3").exists()
    assert not (tmp_path / "other" / "node.key").exists()


def cut(file: Path) -> Path:
    short = file.with_name("short.backup")
    short.write_bytes(file.read_bytes()[:700])
    return short
