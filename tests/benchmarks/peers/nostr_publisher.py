"""Publishes signed events to a Nostr relay, and says how long that took.

It runs in the environment of the peers, as ``python nostr_publisher.py ADDRESS LINKS EVENTS``, and
so imports nothing of ours. Each link has a window of events under way, as our publishers have.
"""

import asyncio
import hashlib
import importlib
import json
import os
import sys
import time
from typing import Any, Final

WINDOW: Final = 256
_CONTENT_BYTES: Final = 48

coincurve: Any = importlib.import_module("coincurve")
websockets: Any = importlib.import_module("websockets")


def signed(count: int) -> list[str]:
    """Return so many messages that publish an event each, by one author."""
    key = coincurve.PrivateKey(os.urandom(32))
    author = key.public_key.format()[1:].hex()
    return [_message(key, author, int(time.time())) for _ in range(count)]


def _message(key: Any, author: str, now_s: int) -> str:
    content = os.urandom(_CONTENT_BYTES).hex()
    covered = json.dumps([0, author, now_s, 1, [], content], separators=(",", ":"))
    name = hashlib.sha256(covered.encode()).digest()
    event = {
        "id": name.hex(), "pubkey": author, "created_at": now_s, "kind": 1, "tags": [],
        "content": content, "sig": key.sign_schnorr(name).hex(),
    }  # fmt: skip
    return json.dumps(["EVENT", event])


async def publish(link: Any, messages: list[str]) -> None:
    """Send all of them, a window at a time, until each is acknowledged."""
    under_way = 0
    for message in messages:
        await link.send(message)
        under_way += 1
        while under_way >= WINDOW:
            under_way -= await _acknowledged(link)
    while under_way:
        under_way -= await _acknowledged(link)


async def _acknowledged(link: Any) -> int:
    answer = json.loads(await link.recv())
    if answer[0] == "OK" and not answer[2]:
        raise SystemExit(f"the peer refused an event: {answer}")
    return int(answer[0] == "OK")


async def main(address: str, links: int, events: int) -> None:
    """Publish; the time does not contain what is done before the first event is sent."""
    logs = [signed(events // links) for _ in range(links)]
    opened = [await websockets.connect(address) for _ in range(links)]
    began = time.perf_counter()
    await asyncio.gather(*map(publish, opened, logs))
    took_s = time.perf_counter() - began
    for link in opened:
        await link.close()
    sys.stdout.write(f"{took_s}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
