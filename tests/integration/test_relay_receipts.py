"""Receipts of a relay that is killed, and evidence that reaches whoever asks for its kind."""

import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.integration.test_relay_process import relay_up
from tests.market_records import Trader
from tests.relay_client import Client
from tests.relay_world import World

from bazaar_host import clock
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import evidence_kinds, frames, kinds, limits, merkle, records
from bazaar_protocol.evidence import check_omission, check_receipt, check_statement
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import recovery_hash
from bazaar_protocol.records import Record, unseal

RECOVERY = Keypair.from_name("recovery of dee")


def stamps(trader: Trader, numbers: range) -> list[Record]:
    """Return loose records about nothing, one for each number."""
    nonces = (number.to_bytes(32, "big") for number in numbers)
    return [trader.say(evidence_kinds.Stamp(b"", 0, nonce)) for nonce in nonces]


async def publish(client: Client, given: list[Record]) -> None:
    for first in range(0, len(given), 256):
        statuses = await client.publish(*given[first : first + 256])
        assert set(statuses) == {"accepted"}


async def check_included(client: Client, record: Record) -> Record:
    """Check that the relay proves what it took, and return its receipt."""
    included = await client.ask(frames.GetInclusion, record.id)
    assert isinstance(included, frames.Included)
    intake = unseal(included.intake)
    assert intake.author == client.link.peer
    check_receipt(intake, record.id, included.index, included.path)
    return intake


async def stated(client: Client, author: AgentId) -> evidence_kinds.Statement:
    answer = await client.ask(frames.GetStatement, author)
    assert isinstance(answer, frames.Stated)
    record = unseal(answer.record)
    assert record.author == client.link.peer
    return check_statement(record)


@pytest.mark.xdist_group("heavy")
async def test_a_killed_relay_proves_what_it_took_before_and_covers_what_it_had_not(
    tmp_path: Path,
) -> None:
    ada = Trader.named("ada", clock.now_ms())
    genesis, entry = ada.genesis(), ada.intake()
    full = limits.INTAKE_RECORDS_MAX
    before = [genesis, entry, *stamps(ada, range(2, full))]
    uncovered, after = (
        stamps(ada, range(full, full + 500)),
        stamps(ada, range(full + 500, 2 * full)),
    )
    async with Libp2pTransport.open(ada.keys, [], [RELAY_PROTOCOL], lambda _: None) as transport:
        async with relay_up(tmp_path / "relay") as relay:
            client = Client(await transport.dial(None, relay.addresses, RELAY_PROTOCOL))
            await client.hello()
            receipts = Filter(kinds=("intake",), authors=(client.link.peer,))
            await client.subscribe(receipts)
            await publish(client, before)
            first = unseal((await client.event()).record)
            assert first == await check_included(client, before[-1])
            await publish(client, uncovered)
            not_yet = await client.ask(frames.GetInclusion, uncovered[0].id)
            assert isinstance(not_yet, frames.Error)
            assert not_yet.code == "not-found"
            await relay.stop(signal.SIGKILL)
        async with relay_up(tmp_path / "relay") as relay:
            client = Client(await transport.dial(None, relay.addresses, RELAY_PROTOCOL))
            await client.hello()
            cursor = await client.subscribe(receipts)
            for record in (before[0], entry, before[2000], before[-1]):
                assert await check_included(client, record) == first
            head = await stated(client, ada.agent)
            assert (head.seq, head.id, head.own_seq) == (2, entry.id, first.seq)
            await publish(client, after)
            await client.next(frames.Event, lambda event: event.cursor > cursor)
            second = await check_included(client, uncovered[0])
            assert second.body.count == full  # type: ignore[union-attr]
            for record in (uncovered[-1], after[0], after[-1]):
                assert await check_included(client, record) == second
            assert await check_included(client, before[1]) == first


@pytest.fixture(params=["memory", "libp2p"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    world = World(request.param, tmp_path)
    async with world.stack:
        yield world


def evidence(*, first_ms: int) -> list[Record]:
    """Return a record of each kind that is passed on to whoever asks for it."""
    ada, bo, liar, dee = (Trader.named(name, first_ms) for name in ("ada", "bo", "liar", "dee"))
    told: list[Record] = [bo.genesis(), ada.genesis()]
    start = ada.head
    one = ada.intake(1)
    ada.head = start
    told.append(bo.say(evidence_kinds.Proof("equivocation", (one.raw, ada.intake(2).raw))))
    liar.genesis()
    intake = liar.say(evidence_kinds.Intake(merkle.tree_hash([one.id]), 1, 1))
    said = liar.say(evidence_kinds.Statement(ada.agent, 0, b"", intake.seq))
    omission = evidence_kinds.Omission(said.raw, intake.raw, one.raw, 0, ())
    assert check_omission(omission) == liar.agent
    told.append(bo.say(omission))
    genesis = dee.say(kinds.Genesis(recovery_hash(RECOVERY.agent)))
    ended = evidence_kinds.Succession(dee.agent, 1, genesis.id, bo.agent)
    told += [genesis, records.seal(RECOVERY, ended, time_ms=first_ms)]
    told += [bo.say(evidence_kinds.Vouch(dee.agent, is_withdrawn=False)), bo.intake()]
    return [*told, bo.say(evidence_kinds.Stamp(b"", 1, bytes(32)))]


async def test_evidence_reaches_whoever_asks_for_its_kind_live_and_later(world: World) -> None:
    cy = Trader.named("cy", clock.now_ms())
    told = evidence(first_ms=clock.now_ms())
    wanted = Filter(kinds=("proof", "omission", "succession", "vouch", "stamp", "intake"))
    expected = [record.raw for record in told if record.kind != "genesis"]
    assert len(expected) == 6
    half = len(told) // 2
    async with world.relay():
        listener, publisher = await world.join(cy), await world.join(Trader.named("x"))
        await listener.subscribe(wanted)
        assert set(await publisher.publish(*told[:half])) == {"accepted"}
        live = [await listener.event() for _ in range(2)]
    async with world.relay():
        publisher = await world.join(Trader.named("x"))
        assert set(await publisher.publish(*told[half:])) == {"accepted"}
        listener, newcomer = await world.join(cy), await world.join(Trader.named("y"))
        await listener.subscribe(wanted, since=live[-1].cursor)
        heard = [one.record for one in live] + await listener.events(4)
        await newcomer.subscribe(wanted)
        assert heard == await newcomer.events(6) == expected
