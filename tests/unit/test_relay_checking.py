"""Signatures that come in bulk are checked by other processes, and no less strictly."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import psutil
import pytest
from tests.market_records import Trader

from bazaar_protocol.errors import BadSignature, MalformedRecord, RemoteError
from bazaar_protocol.evidence_kinds import Proof
from bazaar_protocol.records import Record
from bazaar_relay.machine.verifying import verify
from bazaar_relay.serving.checker import HEAD, check_all
from bazaar_relay.serving.checking import BULK, CHECKERS, Checkers


def _mixed() -> list[bytes]:
    """Good records, and one of each sort that is not."""
    ada = Trader.named("ada")
    good = [ada.genesis().raw, *(ada.intake(number).raw for number in range(BULK))]
    forged = bytearray(good[3])
    forged[-1] ^= 1
    fork = (good[1], good[2])  # two entries of different places prove nothing
    lie = ada.say(Proof("equivocation", fork)).raw
    return [*good, bytes(forged), b"no record", lie, ada.intake(9).raw]


def _told(outcomes: list[Record | RemoteError]) -> list[tuple[str, str]]:
    return [
        ("record", one.id.hex()) if isinstance(one, Record) else (one.code, str(one))
        for one in outcomes
    ]


@asynccontextmanager
async def _checkers(*command: str) -> AsyncGenerator[Checkers]:
    with ThreadPoolExecutor(1) as threads:
        checkers = Checkers(threads, command) if command else Checkers(threads)
        try:
            yield checkers
        finally:
            await checkers.close()


def _children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "checker" in " ".join(one.cmdline())]


async def test_processes_find_what_verifying_one_by_one_finds() -> None:
    raws = _mixed()
    async with _checkers() as checkers:
        outcomes = await checkers.verify(raws)
    assert _told(outcomes) == _told([verify(raw) for raw in raws])
    assert isinstance(outcomes[-4], BadSignature)
    assert isinstance(outcomes[-3], MalformedRecord)
    assert isinstance(outcomes[-2], RemoteError), "what a proof holds is checked as well"


async def test_a_process_that_dies_loses_no_record_and_is_replaced() -> None:
    raws = _mixed()
    async with _checkers() as checkers:
        await checkers.verify(raws)
        first = _children()
        assert len(first) == CHECKERS
        for child in first:
            child.kill()
        assert _told(await checkers.verify(raws)) == _told([verify(raw) for raw in raws])
        await checkers.verify(raws)
        assert {one.pid for one in _children()}.isdisjoint(one.pid for one in first)
    assert not _children()


@pytest.mark.parametrize("command", [("/does/not/exist",), (sys.executable, "-c", "pass")])
async def test_without_processes_threads_do_it(command: tuple[str, ...]) -> None:
    raws = _mixed()
    async with _checkers(*command) as checkers:
        for _ in range(3):
            assert _told(await checkers.verify(raws)) == _told([verify(raw) for raw in raws])


async def test_the_processes_leave_the_interrupt_to_the_relay() -> None:
    async with _checkers() as checkers:
        await checkers.verify(_mixed())
        for child in _children():
            os.kill(child.pid, signal.SIGINT)
        before = {one.pid for one in _children()}
        await checkers.verify(_mixed())
        assert {one.pid for one in _children()} == before


def test_a_job_that_is_garbage_is_no_good_signature() -> None:
    assert check_all(HEAD.pack(bytes(32), 3) + b"abc") == b"\x00"
    assert check_all(b"") == b""
