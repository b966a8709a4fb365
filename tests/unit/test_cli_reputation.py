"""Commands about others: scores, the receipts behind them, and files of evidence."""

from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest
from tests.memory_reputations import BO, LINE, MAL
from tests.served import Served, served
from tests.shell import NOT_FOUND, OK, REFUSED, TRY_AGAIN, USAGE, Shell

from bazaar_node.service import OfferRequest
from bazaar_protocol.errors import ConfigError


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


def test_a_score_comes_with_its_confidence(shell: Shell, api: Served) -> None:
    shown = shell("reputation", "z6Mkbo")
    assert shown.status == OK
    for said in (
        f"agent      {BO}",
        "score      0.62 to rely on, 0.80 expected, from 3.0 good and 0.2 bad jobs",
        "admission  bare; strangers like it begin at 0.50",
        "its word   counts 1.00 here",
        "history    nothing wrong is known",
        "exposure   holds tasks of ours for 40, 1 results of ours not judged",
    ):
        assert said in shown.out.splitlines()
    assert shown.err == f"next: bazaar why {BO}\n"
    answer = shell("reputation", BO, "--role", "poster", "-c", "text.count@2", "--json").json
    assert (answer["role"], answer["capability"]) == ("poster", "text.count@2")
    assert (answer["lower"], answer["mean"], answer["good"]) == (0.62, 0.8, 3.0)
    then = shell("reputation", BO, "--role", "poster", "-c", "a").err
    assert then == f"next: bazaar why {BO} --role poster -c a\n"
    assert shell("reputation", "nobody").status == NOT_FOUND
    assert shell("reputation", BO, "--role", "king").status == USAGE
    with pytest.raises(ConfigError, match="no such role"):
        api.client.reputation(BO, role="king")  # type: ignore[arg-type]


def test_of_a_stranger_it_says_that_nothing_is_known(shell: Shell, api: Served) -> None:
    known = api.node.reputations.known
    known[BO] = msgspec.structs.replace(known[BO], is_known=False, good=0.0, bad=0.0)
    shown = shell("reputation", BO)
    assert "as of any stranger: only 0.0 good and 0.0 bad jobs" in shown.out


@pytest.mark.usefixtures("api")
def test_a_conviction_is_named_with_its_proof(shell: Shell) -> None:
    for command in ("reputation", "why"):
        shown = shell(command, MAL)
        assert "0.00: it contradicted itself, which is proved for ever" in shown.out
        assert "fork at entry 9, CONVICTED of equivocation, proof abababababab" in shown.out
    then = f"next: bazaar evidence export z6MkmalMalMalMalMalM.evidence {MAL}\n"
    assert then in shell("why", MAL).err
    answer = shell("reputation", MAL, "--json").json
    assert (answer["is_convicted"], answer["conviction"]["place"]) == (True, 9)


@pytest.mark.usefixtures("api")
def test_why_lists_each_receipt_with_its_raters_weight_and_its_place(shell: Shell) -> None:
    shown = shell("why", "z6Mkbo", "--limit", "3")
    first, *rows = shown.out.splitlines()
    assert first.startswith(f"{BO}  0.62 to rely on")
    assert [row.split("\t") for row in rows] == [
        ["000000000000", "accepted", "+0.98", "z6MkmalMalMalMalMalM", "0.50", "0",
         "z6MkmalMalMalMalMalM#5"],
        ["010101010101", "accepted", "+0.88", "z6MkmalMalMalMalMalM", "0.50", "1",
         "z6MkmalMalMalMalMalM#6"],
        ["020202020202", "wrong hash", "-0.78", "its own signature", "0.50", "2",
         "z6MkmalMalMalMalMalM#7"],
    ]  # fmt: skip
    assert "40 receipts add nothing" in shown.err
    assert "bazaar evidence export" in shown.err
    one = shell("why", BO, "--limit", "1")
    assert len(one.out.splitlines()) == 2
    assert "2 receipts that count are not shown" in one.err
    answer = shell("why", BO, "--json").json
    assert len(answer["receipts"]) == 3
    assert answer["reputation"]["lower"] == 0.62
    assert shell("why", BO, "--limit", "0").status == USAGE


@pytest.mark.usefixtures("api")
def test_evidence_goes_into_a_file_and_comes_out_of_one(shell: Shell, tmp_path: Path) -> None:
    shown = shell("evidence", "export", "bo.evidence", BO)
    assert shown.out == "bo.evidence: 1 records\n"
    assert "next: bazaar evidence import bo.evidence" in shown.err
    assert (tmp_path / "bo.evidence").read_bytes() == LINE
    assert shell("evidence", "export", "all", "--json").json["records"] == 2
    assert shell("evidence", "export", "all").status not in {OK, USAGE}
    done = shell("evidence", "import", "all")
    assert (done.status, done.out) == (OK, "2 records read, 2 new, 0 refused\n")
    (tmp_path / "bad").write_bytes(LINE + b"forged\n")
    done = shell("evidence", "import", "bad")
    assert done.status == REFUSED
    assert "refused  record 2: forged[2J" in done.out
    assert shell("evidence", "import", "bad", "--json").json["refusals"][0]["number"] == 2


def test_a_rebuild_says_whether_anything_differed(shell: Shell, api: Served) -> None:
    assert shell("evidence", "rebuild").out == "derived anew from 7 records: equal\n"
    api.node.reputations.differences = ("the sums of worker bo",)
    wrong = shell("evidence", "rebuild")
    assert wrong.status == REFUSED
    assert "NOT equal" in wrong.out
    assert "the sums of worker bo" in wrong.out
    api.node.reputations.came_meanwhile = 3
    assert shell("evidence", "rebuild").status == TRY_AGAIN
    assert shell("evidence", "rebuild", "--json").json["came_meanwhile"] == 3


def test_find_shows_what_is_behind_a_claim(shell: Shell, api: Served) -> None:
    api.client.offer(OfferRequest(capability="text.count"))
    (row,) = shell("find").out.splitlines()
    assert row.split("\t")[:4] == ["text.count", "claimed", "0.00?", "0"]
    found = shell("find", "--json").json["found"][0]
    assert (found["claim"], found["is_known"], found["lower"]) == ("claimed", False, 0.0)
