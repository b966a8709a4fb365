"""A relay on the public side: floods of made-up identities, and an operator who answers them.

``BAZAAR_FLOOD_IDENTITIES`` says how many identities a flood has.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from tests.flooding import flood_of
from tests.honest import connect, latencies, show_work
from tests.market_records import Trader
from tests.processes import Daemon, command, node_up, relay_up, run

from bazaar_host import clock
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.identity import to_did

IDENTITIES = int(os.environ.get("BAZAAR_FLOOD_IDENTITIES", "3000"))
ACKS = 200
BITS = 12


def settings(home: Path, *lines: str) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "bazaar.toml").write_text("\n".join(["[relay]", *lines, ""]))


def shown(acks: list[float]) -> str:
    return f"p50 {acks[len(acks) // 2]:.1f} ms, p99 {acks[len(acks) * 99 // 100]:.1f} ms"


@pytest.mark.slow
@pytest.mark.xdist_group("heavy")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("bits", [0, BITS])
async def test_a_flood_of_made_up_identities_beside_an_honest_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bits: int
) -> None:
    """What it shows is printed; what it asserts is that work keeps nearly all of the flood out."""
    home = tmp_path / "relay"
    settings(home, f"pow_bits = {bits}")
    async with relay_up(home) as relay, AsyncExitStack() as stack:
        client, honest = await connect(stack, relay.address, "honest")
        await show_work(client, honest, relay.address)
        assert await client.publish(honest.genesis()) == ("accepted",)
        alone = await latencies(client, honest, ACKS)
        async with flood_of(relay.address, IDENTITIES) as flood:
            beside = await latencies(client, honest, ACKS)
        statuses = flood.statuses
        with capsys.disabled():
            sys.stdout.write(
                f"\npow_bits {bits}: alone {shown(alone)}; beside {shown(beside)}, with "
                f"{statuses.total()} records of {IDENTITIES} identities in {flood.took_s:.1f} s: "
                f"{dict(statuses)}\n"
            )
        assert await relay.stop() == 0
    if bits:
        assert statuses["accepted"] <= 10 * (flood.took_s + 10)
        assert statuses["pow"] > 0
    else:
        assert statuses["accepted"] > IDENTITIES // 10


async def test_a_node_trades_through_a_relay_that_asks_for_work(tmp_path: Path) -> None:
    settings(tmp_path / "relay", f"pow_bits = {BITS}", "free_per_minute = 0")
    offer = ("--offer", "copy", "--exec", "cat")
    async with (
        relay_up(tmp_path / "relay") as relay,
        node_up(tmp_path / "ada", relay) as ada,
        node_up(tmp_path / "bo", relay, *offer),
    ):
        done = await run(
            "post", "--home", str(ada.home), "-c", "copy", "-i", '{"rows": 3}', "--wait",
            "--price-max", "100",
        )  # fmt: skip
        assert "rows" in done
        (information,) = (await run("relay", "info", relay.address, "--json")).splitlines()
        assert json.loads(information)["limitation"]["min_pow_difficulty"] == BITS


async def test_settings_are_read_again_without_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "relay"
    settings(home, "pow_bits = 0")
    async with relay_up(home) as relay, AsyncExitStack() as stack:
        client, ada = await connect(stack, relay.address, "ada")
        assert await client.publish(ada.genesis()) == ("accepted",)
        settings(home, "pow_bits = 12", "free_per_minute = 0")
        await hang_up(relay, 1)
        (status,) = await client.publish(ada.intake())
        assert status.startswith("pow: 12 bits wanted for day ")
        settings(home, "pow_bits = many")
        await hang_up(relay, 2)
        assert "line 2" in json.loads((home / "running.json").read_text())["trouble"]
        (status,) = await client.publish(ada.advert("a"))
        assert status.startswith("pow: 12 bits")  # as before
        (home / "allowed.txt").write_text(f"{to_did(ada.agent)}\n")
        settings(home, "pow_bits = 12")
        await hang_up(relay, 3)
        assert await client.publish(ada.advert("a")) == ("accepted",)
        assert await relay.stop() == 0


async def hang_up(relay: Daemon, times: int) -> None:
    """Send SIGHUP, and wait until the relay says that it has read its settings so often."""
    relay.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(10):
        while json.loads((relay.home / "running.json").read_text())["reloads"] < times:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_who_is_blocked_is_sent_away_at_once_and_kept_away(tmp_path: Path) -> None:
    home = tmp_path / "relay"
    mal = Trader.named("mal")
    async with relay_up(home) as relay, AsyncExitStack() as stack:
        client, ada = await connect(stack, relay.address, "ada")
        bad, _ = await connect(stack, relay.address, "mal")
        await run("relay", "block", to_did(mal.agent), "--home", str(home))
        error = await bad.next(frames.Error)
        assert error.code == "blocked"
        with pytest.raises(LinkClosed):
            await bad.ask(frames.Ping)
        late = Trader.named("mal", clock.now_ms())
        (status,) = await client.publish(late.genesis())
        assert status.startswith("blocked: ")
        assert await client.publish(ada.genesis()) == ("accepted",)
        assert await relay.stop() == 0
    async with relay_up(home) as relay, AsyncExitStack() as stack:
        with suppress(LinkClosed):  # the relay may end the link before it has heard the hello
            bad, _ = await connect(stack, relay.address, "mal")
            await bad.ask(frames.Ping)
            raise AssertionError("a restart has forgotten who is blocked")
        told = await run("relay", "unblock", to_did(mal.agent), "--home", str(home), "--json")
        assert json.loads(told) == {
            "agent": to_did(mal.agent), "has_changed": True, "is_running": True,
        }  # fmt: skip
        bad, late = await connect(stack, relay.address, "mal")
        assert await bad.publish(late.genesis()) == ("accepted",)
        assert await relay.stop() == 0


async def test_a_relay_is_made_checked_and_told_what_is_wrong(tmp_path: Path) -> None:
    home = tmp_path / "relay"
    made = json.loads(await run("relay", "init", "--home", str(home), "--json"))["made"]
    assert {Path(one).name for one in made} == {
        "bazaar.toml", "blocked.txt", "allowed.txt", "relay.key", "recovery.key",
    }  # fmt: skip
    text = (home / "bazaar.toml").read_text()
    assert "# pow_bits = 0" in text
    again = json.loads(await run("relay", "init", "--home", str(home), "--json"))["made"]
    assert again == []
    await run("relay", "check-config", "--home", str(home))
    (home / "bazaar.toml").write_text(text.replace("# pow_bits = 0", "pow_bits = 64"))
    process = await asyncio.create_subprocess_exec(
        *command("relay", "check-config", "--home", str(home)), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    line = text.splitlines().index("# pow_bits = 0") + 1
    assert process.returncode == 2
    assert f"[relay] pow_bits: Expected `int` <= {limits.WORK_BITS_MAX}" in err.decode()
    assert f"line {line}" in " ".join(err.decode().split())
