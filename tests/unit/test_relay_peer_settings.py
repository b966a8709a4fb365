"""Which addresses of peers make sense, and what is kept of how far they were read."""

from pathlib import Path

import pytest

from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import Keypair, to_peer_id
from bazaar_protocol.limits import PEERS_MAX
from bazaar_relay.peering.marks import Marks
from bazaar_relay.settings import load

ONE, TWO = (Keypair.from_name(name).agent for name in ("one", "two"))
STORE, OURS = bytes(32), bytes(range(32))


def address(number: int, agent: bytes = ONE) -> str:
    return f"/ip4/192.0.2.{number}/tcp/4001/p2p/{to_peer_id(agent)}"  # type: ignore[arg-type]


def settle(folder: Path, *peers: str) -> None:
    listed = ", ".join(f'"{peer}"' for peer in peers)
    (folder / "bazaar.toml").write_text(f"[relay]\npeers = [{listed}]\n")


@pytest.mark.parametrize(
    ("peers", "why"),
    [
        (["/ip4/192.0.2.1/tcp/4001"], "ends in /p2p/"),
        (["relay.example:4001"], "not an address"),
        ([address(1), address(2)], "twice"),
        ([address(1, Keypair.from_name(str(n)).agent) for n in range(PEERS_MAX + 1)], "at most"),
    ],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, peers: list[str], why: str) -> None:
    settle(tmp_path, *peers)
    with pytest.raises(ConfigError, match=f"peers: .*{why}"):
        load(tmp_path, flags={}, environ={})


def test_peers_are_known_by_their_keys(tmp_path: Path) -> None:
    settle(tmp_path, address(1), address(2, TWO))
    values = load(tmp_path, flags={}, environ={}).values
    assert values.policy().peers == {ONE, TWO}
    values.check_peers(Keypair.from_name("three").agent)
    with pytest.raises(ConfigError, match="itself"):
        values.check_peers(TWO)


async def test_marks_hold_for_one_store_and_no_older_copy_of_it(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    marks = Marks(path)
    await marks.load(OURS, 0)
    assert marks.get(ONE, STORE) is None
    marks.put(ONE, STORE, 17)
    await marks.save(OURS, 100)
    for store, cursor, expected in ((OURS, 100, 17), (OURS, 99, None), (STORE, 100, None)):
        again = Marks(path)
        await again.load(store, cursor)
        assert again.get(ONE, STORE) == expected
        assert again.get(TWO, STORE) is None
        assert again.get(ONE, OURS) is None  # the peer has another store now
    path.write_text("nonsense")
    broken = Marks(path)
    await broken.load(OURS, 100)
    assert broken.get(ONE, STORE) is None
