"""Lists of identities in files, and the settings of a relay that go with them."""

from pathlib import Path

import pytest

from bazaar_host.settings import render_toml
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import Keypair, to_did, to_peer_id
from bazaar_relay import settings
from bazaar_relay.homes import Home
from bazaar_relay.lists import add_to_list, read_list, remove_from_list
from bazaar_relay.machine.admission import Policy
from bazaar_relay.settings import FileSettings

ADA, BO = Keypair.from_name("ada").agent, Keypair.from_name("bo").agent


def test_a_list_is_read_changed_and_otherwise_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "blocked.txt"
    assert read_list(path) == frozenset()
    path.write_text(f"# a comment\n\n{to_peer_id(ADA)}  # for a flood\n")
    assert add_to_list(path, BO)
    assert not add_to_list(path, BO)
    assert read_list(path) == {ADA, BO}
    assert remove_from_list(path, ADA)
    assert not remove_from_list(path, ADA)
    assert path.read_text() == f"# a comment\n\n{to_did(BO)}\n"


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "allowed.txt").write_text(f"{to_did(ADA)}\nsomebody\n")
    with pytest.raises(ConfigError, match=r"allowed\.txt: line 2: .*did:key"):
        settings.load(tmp_path, flags={}, environ={})
    (tmp_path / "allowed.txt").write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        settings.load(tmp_path, flags={}, environ={})


def test_lists_and_settings_add_up(tmp_path: Path) -> None:
    home = Home(tmp_path)
    add_to_list(home.blocked_path, ADA)
    home.settings_path.write_text(f'[relay]\nblocked = ["{to_did(BO)}"]\nallowed = []\n')
    values = settings.load(tmp_path, flags={}, environ={}).values
    policy = values.policy(home.lists())
    assert policy.blocked == {ADA, BO}
    assert policy.allowed == frozenset()


def test_the_defaults_are_those_of_the_machine_and_what_init_writes_is_valid(
    tmp_path: Path,
) -> None:
    assert FileSettings().policy().work.bits == 0
    assert not FileSettings().policy().grows
    assert FileSettings().policy().records_per_s == Policy().records_per_s
    text = render_toml(FileSettings, settings.SECTION)
    uncommented = text.replace("\n# ", "\n").splitlines()
    assignments = [line for line in uncommented if line.partition(" = ")[0].isidentifier()]
    Home(tmp_path).settings_path.write_text("[relay]\n" + "\n".join(assignments[1:]))
    assert len(assignments) > 20
    loaded = settings.load(tmp_path, flags={}, environ={})
    assert loaded.values == FileSettings()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pow_bits = 99", r"pow_bits: Expected `int` <= 32 \(line 2; The proof of work"),
        ("pow_bits = 22\npow_bits_max = 21", "pow_bits_max is 21, and must be at least"),
        ("newcomer_percent = 0", "newcomer_percent: Expected `int` >= 1"),
        ("blocked = ['nobody']", "blocked: "),
        ("only_allowed = 1", "only_allowed: Expected `bool`"),
        ("pow_bit = 1", "did you mean pow_bits"),
    ],
)
def test_a_wrong_setting_is_explained(tmp_path: Path, line: str, message: str) -> None:
    Home(tmp_path).settings_path.write_text(f"[relay]\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        settings.load(tmp_path, flags={}, environ={})
