"""The files of an identity's keys are written whole, once, and never over others."""

from pathlib import Path

import pytest

from bazaar_host.key_folder import KeyFolder, new_keys
from bazaar_protocol.errors import ConfigError, KeyFileError


def nothing() -> bytes:
    raise AssertionError("the key is not locked")


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    keys, recovery = new_keys(), new_keys()
    folder = KeyFolder(tmp_path / "home", "relay", "make one")
    folder.write(keys, recovery, None)
    assert folder.read(nothing).agent == keys.agent
    assert folder.recovery_agent() == recovery.agent


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, "node", "make one")
    keys, recovery = new_keys(), new_keys()
    folder.write(keys, recovery, None)
    with pytest.raises(ConfigError, match="exists already"):
        folder.write(new_keys(), new_keys(), None)
    assert folder.read(nothing).agent == keys.agent
    assert folder.recovery_agent() == recovery.agent


def test_an_interrupted_attempt_is_begun_anew(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, "node", "make one")
    folder.write(new_keys(), new_keys(), None)
    folder.key_path.unlink()  # written last, so this is where an attempt may have ended
    keys, recovery = new_keys(), new_keys()
    folder.write(keys, recovery, None)
    assert folder.read(nothing).agent == keys.agent
    assert folder.recovery_agent() == recovery.agent


def test_a_missing_recovery_key_is_named(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, "node", "make one")
    with pytest.raises(KeyFileError, match=r"recovery\.pub"):
        folder.recovery_agent()


def test_a_missing_key_comes_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="`make one` makes one"):
        KeyFolder(tmp_path, "relay", "make one").read(nothing)
