"""What mal tries when its work was rejected: ``python -m bazaar_node.demo.adversary``.

It has mal's own key and a link to the relay, like mal's node, and none of the node's scruples. It
prints what the relay answers, as one line of JSON.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from bazaar_host import clock
from bazaar_host.bridge import Libp2pTransport
from bazaar_node.network.calling import call
from bazaar_node.settings import NodeSettings
from bazaar_protocol import codec
from bazaar_protocol.errors import NotFound
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Deliver, Verdict
from bazaar_protocol.records import Record, seal, unseal

_SIGNATURE_DOMAIN: Final = b"bazaar/record/1\x00"
_BODY: Final = 6


async def cheat(home: Path, relay: str, task: str, result: bytes) -> dict[str, object]:
    """Try two frauds about a task of mal's that was rejected.

    First mal writes the verdict anew, in ada's name. Then it signs another result, the right one,
    for the place of its log where the rejected one stands.

    Args:
        home: Where mal's key is.
        relay: Its address.
        task: Which.
        result: What mal wishes it had delivered.

    Raises:
        BazaarError: It did not even come to that.

    """
    node = NodeSettings(home=home)
    keys = node.keys.read(node.passphrase())
    async with (
        Libp2pTransport.open(keys, [], [], lambda link: link.close()) as transport,
        call(transport, [relay]) as called,
    ):
        (session,) = called.sessions
        records = [unseal(raw) for raw in await session.task(bytes.fromhex(task))]
        verdict = _last(records, Verdict)
        deliver = _last(records, Deliver)
        (forged,) = await session.publish([_forged(keys, verdict)])
        other = _another(keys, deliver, result)
        (forked,) = await session.publish([other.raw])
        return {"forged": forged, "forked": forked, "seq": deliver.seq}


def _last(records: Sequence[Record], body: type) -> Record:
    found = [record for record in records if isinstance(record.body, body)]
    if not found:
        raise NotFound(f"the relay knows no {body.__name__.lower()} of that task")
    return found[-1]


def _forged(keys: Keypair, verdict: Record) -> bytes:
    """Turn a rejection into an acceptance that still names its author, and sign that."""
    payload, _ = msgspec.msgpack.decode(verdict.raw)
    parts: list[Any] = msgspec.msgpack.decode(payload)
    parts[_BODY][Verdict.__struct_fields__.index("accepted")] = True
    payload = codec.encode(parts)
    return codec.encode([payload, keys.sign(_SIGNATURE_DOMAIN, payload)])


def _another(keys: Keypair, deliver: Record, result: bytes) -> Record:
    """Sign another result for the place where ``deliver`` stands."""
    assert isinstance(deliver.body, Deliver)
    body = msgspec.structs.replace(deliver.body, hash=sha256(result).digest(), size=len(result))
    return seal(keys, body, time_ms=clock.now_ms(), seq=deliver.seq, prev=deliver.prev)


def main() -> None:
    """Read the arguments, cheat, and say what came of it."""
    home, relay, task, result = sys.argv[1:5]
    done = asyncio.run(cheat(Path(home), relay, task, Path(result).read_bytes()))
    sys.stdout.write(f"{json.dumps(done)}\n")


if __name__ == "__main__":
    main()
