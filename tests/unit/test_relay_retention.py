"""How long a relay keeps what, and how its store becomes smaller again."""

from pathlib import Path

import msgspec
import pytest
from tests.market_records import NOW_MS, Trader
from tests.relay_records import NAME, decline

from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, StorageError
from bazaar_protocol.evidence_kinds import Proof
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Post
from bazaar_relay import settings
from bazaar_relay.machine.retention import Retention
from bazaar_relay.serving.information import About, document
from bazaar_relay.settings import FileSettings
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Batch, NewRecord
from bazaar_relay.storage.vacuuming import vacuum

ADA = Trader.named("ada")


def test_each_kind_has_its_time() -> None:
    retention = Retention(40, {"bid": 100, "post": 50})
    post = ADA.post()
    assert isinstance(post.body, Post)
    days_of = {
        ADA.genesis(): None,
        ADA.say(Proof("equivocation", (ADA.intake(1).raw, ADA.intake(2).raw))): None,
        ADA.bid(post): 100 * limits.DAY_MS,
        ADA.decline(post): 40 * limits.DAY_MS,
        post: 50 * limits.DAY_MS + post.body.expires_in_ms,
        ADA.advert("text", expires_in_ms=3_600_000): 3_600_000,
        ADA.advert("text", expires_in_ms=1): limits.ADVERT_RETENTION_MS_MIN,
        ADA.advert("text", expires_in_ms=0): limits.ADVERT_LIFETIME_MS_MAX,
    }
    for record, kept_ms in days_of.items():
        until_ms = None if kept_ms is None else NOW_MS + kept_ms
        assert retention.expires_ms(record, NOW_MS) == until_ms, record.kind


def test_settings_say_so_and_so_does_the_relay(tmp_path: Path) -> None:
    given = {"keep_days": 45, "keep_days_of": ["bid=31", "stamp=400"]}
    policy = settings.load(tmp_path, flags=given, environ={}).values.policy()
    assert policy.retention == Retention(45, {"bid": 31, "stamp": 400})
    told = msgspec.json.decode(document(Keypair.from_name("r").agent, About(), policy, []))
    assert told["retention"]["other_ms"] == 45 * limits.DAY_MS
    assert told["retention"]["stamp_ms"] == 400 * limits.DAY_MS
    for wrong in ("bid", "bid=30", "bid=x", "accept=60", "proof=60", "heartbeat=60", "bid=99999"):
        with pytest.raises(ConfigError, match=f"keep_days_of: '{wrong}' is not KIND=DAYS"):
            FileSettings(keep_days_of=[wrong]).policy()
    with pytest.raises(ConfigError, match="--keep-days: Expected `int` >= 31"):
        settings.load(tmp_path, flags={"keep_days": 30}, environ={})


async def test_a_store_becomes_smaller_when_nobody_uses_it(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite3"
    async with SqliteStore.open(path, name=NAME) as store:
        for first in range(0, 4000, 500):
            some = [NewRecord(decline(number), (), 1) for number in range(first, first + 500)]
            await store.commit(Batch(some))
        await store.commit(Batch([NewRecord(decline(-1), ())]))
        while await store.forget(now_ms=1):
            pass
        with pytest.raises(StorageError, match="is in use"):
            vacuum(path)
    before, after = vacuum(path)
    assert after < before // 4
    async with SqliteStore.open(path, name=NAME) as store:
        assert await store.get(decline(-1).id) == decline(-1).raw
        assert await store.cursor() == 4001
    with pytest.raises(ConfigError, match="there is no store"):
        vacuum(tmp_path / "other")
