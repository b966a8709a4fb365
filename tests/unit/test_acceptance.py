"""Results judged by schema, hash, the poster's own program, and people."""

import json
import shlex
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pytest

from bazaar_node.work.acceptance import Judgement, judge
from bazaar_node.work.schemas import SchemaChecker
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Acceptance, Input, Lease, Post, Rule

RESULT = b'{"rows": 3}'
SCHEMA = json.dumps({"type": "object", "required": ["rows"]}).encode()
POSTER = Keypair.from_name("poster")

Method = Literal["schema", "hash", "command", "evaluator", "human"]


def post(method: Method, *, schema: bytes = b"", expected: bytes = b"") -> Post:
    return Post(
        title="extract",
        capability="pdf.extract",
        capability_version=0,
        mode="auction",
        input=Input(b"", sha256().digest(), 0, "", private=False),
        output_schema=schema,
        acceptance=Acceptance(method, expected, None, 1000),
        price=1,
        bid_window_ms=0,
        rule=Rule(10_000, 0, 0, 0),
        lease=Lease(1000, 1000, 1000, 1),
        sequencer=POSTER.agent,
        worker=None,
        bidders_max=1,
        sealed=False,
        canary=b"",
        tags=(),
        idempotency_key="",
        addresses=(),
        expires_in_ms=1000,
    )


@pytest.fixture
async def schemas() -> AsyncIterator[SchemaChecker]:
    async with SchemaChecker() as checker:
        yield checker


class Court:
    def __init__(self, folder: Path, schemas: SchemaChecker) -> None:
        self.folder = folder / "work"
        self.schemas = schemas

    async def judge(
        self, asked: Post, result: bytes | Path = RESULT, command: str | None = None
    ) -> Judgement:
        return await judge(asked, result, command=command, folder=self.folder, schemas=self.schemas)


@pytest.fixture
def court(tmp_path: Path, schemas: SchemaChecker) -> Court:
    return Court(tmp_path, schemas)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a result"
    path.write_bytes(RESULT)
    return path


async def test_the_schema_decides(court: Court, file: Path) -> None:
    asked = post("schema", schema=SCHEMA)
    assert (await court.judge(asked)).accepted
    assert (await court.judge(asked, file)).accepted
    refused = await court.judge(asked, b"[]")
    assert not refused.accepted
    assert refused.is_final
    assert refused.reason.startswith("schema: ")
    assert (await court.judge(post("schema"), b"\xff")).accepted


@pytest.mark.parametrize("method", ["hash", "command", "evaluator", "human"])
async def test_the_schema_comes_first_whatever_the_method(court: Court, method: Method) -> None:
    asked = post(method, schema=SCHEMA, expected=sha256(b"[]").digest())
    judgement = await court.judge(asked, b"[]", "true")
    assert not judgement.accepted
    assert judgement.is_final


async def test_a_file_too_large_for_the_schema_is_refused(court: Court, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as sparse:
        sparse.truncate(limits.DOCUMENT_BYTES_MAX + 1)
    judgement = await court.judge(post("schema", schema=b"{}"), large)
    assert not judgement.accepted
    assert "more than" in judgement.reason


async def test_the_hash_decides(court: Court, file: Path) -> None:
    asked = post("hash", expected=sha256(RESULT).digest())
    assert (await court.judge(asked)).accepted
    assert (await court.judge(asked, file)).accepted
    refused = await court.judge(asked, b"other")
    assert not refused.accepted
    assert refused.is_final


@pytest.mark.parametrize("from_file", [True, False], ids=["file", "bytes"])
async def test_the_posters_program_decides(court: Court, file: Path, *, from_file: bool) -> None:
    result = file if from_file else RESULT
    script = 'cmp -s "$1" - || exit 9; grep -q rows "$1" && echo \'it has rows\''
    command = f"sh -c {shlex.quote(script)} check"
    judgement = await court.judge(post("command"), result, command)
    assert judgement == Judgement(accepted=True, reason="it has rows")
    assert not court.folder.exists() or list(court.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo '\033[1mwrong\033[0m'; echo more; exit 1", "[1mwrong[0m"),
        ("echo wrong >&2; echo more >&2; exit 1", "wrong"),
        ("exit 4", "exit status 4"),
    ],
)
async def test_the_posters_program_gives_the_reason(court: Court, script: str, reason: str) -> None:
    judgement = await court.judge(post("command"), RESULT, f"sh -c {shlex.quote(script)}")
    assert judgement == Judgement(accepted=False, reason=reason)


@pytest.mark.parametrize(
    "command",
    [None, "no-such-program", "sh -c 'no-such-program'", "sh -c 'kill -9 $$'", "cat /dev/zero"],
)
async def test_a_check_that_breaks_is_not_the_workers_fault(
    court: Court, command: str | None
) -> None:
    judgement = await court.judge(post("command"), RESULT, command)
    assert judgement.needs_human
    assert not judgement.is_final


async def test_a_check_that_hangs_is_left_to_people(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ACCEPTANCE_TIMEOUT_S", 0.3)
    judgement = await court.judge(post("command"), RESULT, "sh -c 'sleep 1000'")
    assert judgement.needs_human
    assert "not done after 0.3 s" in judgement.reason


async def test_a_command_that_cannot_be_read_is_the_posters_trouble(court: Court) -> None:
    with pytest.raises(ConfigError):
        await court.judge(post("command"), RESULT, "sh 'open")


async def test_people_and_evaluators_are_waited_for(court: Court) -> None:
    human = await court.judge(post("human"))
    evaluator = await court.judge(post("evaluator"))
    assert (human.needs_human, human.needs_evaluator, human.is_final) == (True, False, False)
    assert (evaluator.needs_human, evaluator.needs_evaluator) == (False, True)
    assert not evaluator.accepted
    assert not evaluator.is_final
