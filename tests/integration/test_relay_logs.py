"""What a relay logs has names, counts and ids; never what anybody wrote."""

import json
from contextlib import AsyncExitStack
from pathlib import Path

from tests.honest import connect
from tests.processes import relay_up

from bazaar_protocol import frames

SECRET = "the-text-of-somebody"


async def test_logs_are_structured_and_hold_no_payload(tmp_path: Path) -> None:
    async with relay_up(tmp_path / "relay", "--log-level", "debug") as relay:
        async with AsyncExitStack() as stack:
            client, ada = await connect(stack, relay.address, "ada")
            post, advert = ada.post(title=SECRET), ada.advert("a", words=SECRET)
            assert await client.publish(post, advert) == ("accepted", "accepted")
            assert await client.publish(ada.post(title=SECRET * 9), post) != ()
            await client.ask(frames.Mail, bytes(ada.agent), SECRET.encode())
            await client.ask(frames.Query, "a", SECRET, "", 9)
            await client.publish_raw(post.raw[:-1] + b"x", SECRET.encode())
            await client.send(frames.Hello(frames.VERSION, SECRET, ()))  # a second one: an error
        assert await relay.stop() == 0
        lines = relay.log().splitlines()
    told = [json.loads(line) for line in lines]
    assert {"serving", "stopping"} <= {one["event"] for one in told}
    assert all({"event", "level", "part", "timestamp"} <= one.keys() for one in told)
    assert SECRET not in relay.log()
    assert SECRET.encode().hex() not in relay.log()
