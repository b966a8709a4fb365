"""A node that is brought back from an old backup: it catches up, and is never exposed for it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.town import (
    TERMINAL,
    Site,
    Town,
    find_proofs,
    raw_client,
    read_log,
    town,
    try_command,
    until,
)

from bazaar_protocol.identity import AgentId, parse_agent
from bazaar_protocol.records import Record

pytestmark = [pytest.mark.xdist_group("heavy"), pytest.mark.timeout(300)]

OFFER = ("--offer", "word.find", "--exec", "echo 1")


@dataclass
class Scene:
    """Ada posts through two relays, bo works, and ada's home was backed up early."""

    it: Town
    relays: tuple[Site, Site]
    addresses: tuple[str, str]
    ada: Site
    agent: AgentId
    backup: Path
    secret: Path

    def both(self) -> tuple[str, ...]:
        return tuple(word for address in self.addresses for word in ("--relay", address))

    async def trade(self) -> str:
        task = await self.ada.post("word.find", price=5)
        over = await self.ada.reached(task.id, *TERMINAL)
        assert over.task.state == "accepted"
        await until(self.ada.client.status, lambda status: status.outbox == 0)
        return task.id

    async def log_at(self, number: int) -> list[Record]:
        async with raw_client(self.addresses[number], "reader") as reader:
            assert await find_proofs(reader) == []
            return await read_log(reader, self.agent)

    async def command(self, *arguments: str, home: Path | None = None) -> tuple[int, str, str]:
        return await try_command(*arguments, "--home", str(home or self.ada.home))


async def opened(it: Town, folder: Path) -> Scene:
    first, second = await it.relay("first"), await it.relay("second")
    addresses = (first.running.address, second.running.address)
    it.address = addresses[0]
    more = ("--relay", addresses[1])
    ada, _ = await asyncio.gather(it.node("ada", *more), it.node("bo", *more, *OFFER))
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("correct horse\n")
    agent = parse_agent(await ada.agent())
    return Scene(it, (first, second), addresses, ada, agent, folder / "ada.backup", secret)


async def backed_up(scene: Scene) -> tuple[str, list[str]]:
    """Back up between two trades, and have only the second relay hear of two more.

    Return the task after the backup, and those that are lost when that relay is away.
    """
    ada, (first, second) = scene.ada, scene.relays
    await scene.trade()
    status, _, err = await scene.command(
        "key", "backup", str(scene.backup), "--passphrase-file", str(scene.secret)
    )
    assert status == 0, err
    known = await scene.trade()
    await first.crash()
    lost = [await scene.trade() for _ in range(2)]
    assert len(await scene.log_at(1)) == 9
    await ada.crash()
    await second.crash()
    await first.up()
    return known, lost


async def restored(scene: Scene, home: Path) -> None:
    """Restore the backup into ``home`` and catch up there, as far as the first relay knows."""
    status, out, err = await scene.command(
        "key", "restore", str(scene.backup), "--passphrase-file", str(scene.secret),
        "--no-passphrase", home=home,
    )  # fmt: skip
    assert status == 0, err
    assert "s old" in err
    assert f"bazaar recover --home {home}" in err
    status, _, err = await scene.command("up", *scene.both(), home=home)
    assert status == 1
    assert f"type: bazaar recover --home {home}" in err
    status, out, err = await scene.command("recover", home=home)
    assert status == 0, err
    assert out == "2 entries\n"
    assert f"not asked: {scene.addresses[1]}" in err
    scene.ada.home = home


async def test_an_old_backup_is_caught_up_and_never_exposed(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        scene = await opened(it, tmp_path)
        ada, (_, second) = scene.ada, scene.relays
        known, lost = await backed_up(scene)
        await restored(scene, tmp_path / "restored")
        await ada.up()
        assert (await ada.detail(known)).task.state == "accepted"
        assert lost[0] not in {task.id for task in ada.client.tasks()}
        await scene.trade()
        kinds = [record.kind for record in await scene.log_at(0)]
        assert kinds == ["genesis", *["award", "verdict"] * 2, "reset", "award", "verdict"]

        # The other relay comes back with what was lost.
        await second.up()
        view = await until(
            lambda: ada.client.status().relays[1], lambda relay: "entries 6 to 9" in relay.trouble
        )
        assert view.is_left_behind
        await scene.trade()
        assert [record.kind for record in await scene.log_at(1)].count("reset") == 0
        assert len(await scene.log_at(0)) == 10
        _, out, _ = await scene.command("doctor")
        assert "entries 6 to 9" in out
        # Nor is it stuck after a restart, whichever relay answers first.
        await ada.crash()
        await ada.up()
        await scene.trade()
        assert len(await scene.log_at(0)) == 12
