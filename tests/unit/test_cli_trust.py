"""Commands about trust: canaries, and contradicting a rejection."""

from collections.abc import Generator
from hashlib import sha256
from pathlib import Path

import pytest
from tests.served import Served, served
from tests.shell import NOT_FOUND, OK, REFUSED, USAGE, Shell


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def shell(home: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(home, capfd)


@pytest.fixture
def api(home: Path) -> Generator[Served]:
    with served(home) as running:
        yield running


def test_canaries_are_added_by_file_or_by_hash_listed_and_removed(
    shell: Shell, api: Served, tmp_path: Path
) -> None:
    (tmp_path / "right.json").write_bytes(b'{"words":2}')
    digest = sha256(b'{"words":2}').hexdigest()
    wanted = ("canary", "add", "-c", "text.count", "-i", "one two", "--expect")
    assert shell(*wanted, "right.json").out == "1\n"
    for said in (digest, f"sha256:{digest.upper()}"):
        assert shell(*wanted, said, "--json").json["expected_sha256"] == digest
    listed = shell("canary", "list")
    assert "text.count" in listed.out
    assert digest[:12] not in listed.out
    assert [one["number"] for one in shell("canary", "list", "--json").json["canaries"]] == [
        1,
        2,
        3,
    ]
    assert shell("canary", "remove", "2").status == OK
    assert shell("canary", "remove", "2").status == NOT_FOUND
    assert len(api.client.canaries()) == 2
    assert shell(*wanted, "nowhere.json").status == USAGE


def test_a_rejection_is_disputed_with_a_reason(shell: Shell, api: Served) -> None:
    task = shell("post", "-c", "a", "--accept", "human").out.strip()
    shell("work", "next")
    shell("work", "deliver", task, "-i", "x")
    assert shell("dispute", task, "-r", "too early").status == REFUSED
    shell("reject", task, "-r", "wrong")
    assert shell("dispute", task).status == USAGE
    assert shell("dispute", task, "-r", "it is right").status == OK
    assert api.client.task(task).events[-1].untrusted_note == "it is right"


def test_who_answers_for_whom_is_said_and_taken_back(shell: Shell, api: Served) -> None:
    bo = "did:key:z6Mkbo"
    assert shell("vouch", bo).status == OK
    assert shell("vouch", bo, "--withdraw", "--json").json == {"agent": bo, "is_withdrawn": True}
    said = [(one.agent, one.is_withdrawn) for one in api.node.pledges.vouches]
    assert said == [(bo, False), (bo, True)]
    assert shell("stamp").out == "20 bits\n"
    assert shell("stamp", "--json").json == {"bits": 20, "day": 20_000}
