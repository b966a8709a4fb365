"""Files of evidence: what comes out of one node goes into another, and nothing false with it."""

from pathlib import Path

import pytest
from tests.evidence_records import OUTCOMES, history, keep, opened, state
from tests.reputation_records import Party, deal

from bazaar_node.trust import exchange
from bazaar_node.trust.exchange import FIRST_LINE, export, import_file
from bazaar_protocol.errors import ConfigError, StorageError
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair

CY = Keypair.from_name("cy")


def write(path: Path, raws: list[bytes]) -> Path:
    path.write_bytes(FIRST_LINE + b"".join(map(pack, raws)))
    return path


async def test_a_file_carries_everything_to_another_node(tmp_path: Path) -> None:
    given = history(OUTCOMES * 3, has_fork=True)
    path = tmp_path / "evidence"
    async with opened(tmp_path / "one") as store:
        new = await keep(store, given)
        expected = await state(store)
        count = await export(store, path)
        assert count == new + 1, "and the proof that it made"
    async with opened(tmp_path / "other") as store:
        imported = await import_file(store, path)
        # The other node has found the fork by itself, before it came to the proof.
        assert (imported.read, imported.new, imported.refused) == (count, new, 0)
        assert await state(store) == expected
        assert (await import_file(store, path)).new == 0


async def test_a_file_about_one_agent_is_enough_to_find_the_same_about_it(tmp_path: Path) -> None:
    given = history(OUTCOMES * 3, has_fork=True)
    async with opened(tmp_path / "one") as store:
        await keep(store, given)
        expected = {one for one in (await state(store)).findings if subject(one) == CY.agent}
        assert expected
        some = await export(store, tmp_path / "cy", CY.agent)
        assert some < await export(store, tmp_path / "all")
    async with opened(tmp_path / "other") as store:
        assert (await import_file(store, tmp_path / "cy")).refused == 0
        found = {one for one in (await state(store)).findings if subject(one) == CY.agent}
        assert {reason(one) for one in found} == {reason(one) for one in expected}
        assert store.scorer.score(CY.agent).is_convicted


def subject(finding: object) -> object:
    return finding.strand.subject  # type: ignore[attr-defined]


def reason(finding: object) -> tuple[object, object]:
    return finding.contract, finding.strand.role  # type: ignore[attr-defined]


async def test_one_bad_record_is_named_and_loses_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "PAGE", 7)
    ada, bo = Party("ada"), Party("bo")
    deal(ada, bo, "accepted")
    bo.go_on(20)
    raws = [record.raw for record in (*ada.log, *bo.log)]
    bad = dict.fromkeys((2, 9, 10, len(raws) - 1))
    spoiled = [_spoil(raw) if index in bad else raw for index, raw in enumerate(raws)]
    spoiled.insert(5, b"rubbish")
    async with opened(tmp_path) as store:
        imported = await import_file(store, write(tmp_path / "file", spoiled))
        assert imported.read == len(spoiled)
        assert imported.new == len(raws) - len(bad)
        assert [one.number for one in imported.refusals] == [3, 6, 11, 12, len(spoiled)]
        assert all(one.reason for one in imported.refusals)


async def test_a_file_that_ends_too_early_gives_what_it_has(tmp_path: Path) -> None:
    bo = Party("bo")
    bo.go_on(5)
    path = write(tmp_path / "file", [record.raw for record in bo.log])
    path.write_bytes(path.read_bytes()[:-9])
    async with opened(tmp_path) as store:
        imported = await import_file(store, path)
        assert (imported.new, imported.refused) == (5, 1)
        assert "ends" in imported.refusals[0].reason
        path.write_bytes(path.read_bytes() + b"\xff" * 20_000)
        refusals = (await import_file(store, path)).refusals
        assert [one.number for one in refusals] == [6, 7]


async def test_a_length_that_nothing_has_ends_the_reading(tmp_path: Path) -> None:
    bo = Party("bo")
    path = write(tmp_path / "file", [bo.log[0].raw])
    path.write_bytes(path.read_bytes() + b"\xff\xff\xff\xff and more")
    async with opened(tmp_path) as store:
        imported = await import_file(store, path)
        assert "nothing can be read" in imported.refusals[0].reason


async def test_what_is_no_such_file_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"something else")
    async with opened(tmp_path) as store:
        with pytest.raises(ConfigError):
            await import_file(store, path)
        with pytest.raises(StorageError):
            await import_file(store, tmp_path / "nothing")
        with pytest.raises(StorageError):
            await export(store, path)
        assert path.read_bytes() == b"something else"


def _spoil(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])
