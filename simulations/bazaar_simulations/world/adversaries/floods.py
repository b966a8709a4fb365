"""Strangers that send, open and keep as much as they can."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from bazaar_host.links import RELAY_PROTOCOL, Link, Transport
from bazaar_node.market.drafts import draft_post
from bazaar_node.network.calling import call
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.service import PostRequest
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, Refused, Unreachable
from bazaar_protocol.frames import Filter, encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.kinds import Advert, Body, Capability
from bazaar_protocol.records import parse, seal
from bazaar_simulations.world.adversaries.adversary import Profile, Stranger
from bazaar_simulations.world.adversaries.mutations import Mutator
from bazaar_simulations.world.node_process import CAPABILITY

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

KEPT_BYTES_MAX: Final = 3 * limits.MIB
"""What a relay under a policy of 2 MiB a day may keep of one stranger."""
_ATTACK_S: Final = 100.0
_AT_ONCE: Final = 50
_PAUSE_S: Final = 0.5
_LINKS_PER_S: Final = 20
_DIGEST_BYTES: Final = 32
_HELLO: Final = pack(encode_frame(frames.Hello(frames.VERSION, "flood", ())))


class Flood(Stranger):
    """Sends records to every relay for some time, and counts what becomes of them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.statuses: Counter[str] = Counter()
        self._rng = random.Random(self.chance.entropy(_DIGEST_BYTES))

    @property
    def refused(self) -> int:
        """How many records were not taken."""
        return self.statuses.total() - self.statuses["accepted"]

    def outstanding(self, world: "World") -> str:
        del world
        return "" if self.refused else "nothing of it was refused"

    def figures(self, world: "World") -> Mapping[str, float]:
        del world
        return {"accepted": self.statuses["accepted"], "refused": self.refused}

    async def attack(self, transport: Transport) -> None:
        if self.ground.true_s() > _ATTACK_S:
            return
        self.acted_s = self.acted_s or self.ground.true_s()
        async with call(transport, self.relays, rng=self._rng) as relays:
            while self.ground.true_s() < _ATTACK_S:
                for session in relays.sessions:
                    await self.pour(session)
                await asyncio.sleep(_PAUSE_S)

    async def pour(self, session: RelaySession) -> None:
        """Send some of it to one relay."""
        raise NotImplementedError

    def say(self, body: Body) -> bytes:
        """Sign something that is in no log."""
        return seal(self.keys, body, time_ms=self.surroundings.clock.now_ms()).raw

    async def publish(self, session: RelaySession, raws: Sequence[bytes]) -> None:
        """Publish, and count what becomes of it."""
        statuses = await session.publish(raws)
        self.statuses.update(status.partition(":")[0] for status in statuses)


class SignatureFlood(Flood):
    """Sends records whose signatures have to be checked to see that they are wrong."""

    profile = Profile(
        "signature flood",
        "resources",
        "Dwork & Naor 1992 (what costs the receiver more than the sender)",
        "records that nobody signed; whoever sends them uses up an allowance of its own",
        "how long honest tasks take meanwhile",
    )

    async def pour(self, session: RelaySession) -> None:
        mutator = Mutator(self._rng, self.keys)
        true = [
            self.say(Advert(number, "", (), (), (), 1, 0, limits.HOUR_MS))
            for number in range(1, _AT_ONCE + 1)
        ]
        await self.publish(session, [mutator.mutate(raw, "signature bit") for raw in true])

    def harm(self, world: "World") -> str:
        del world
        taken = self.statuses["accepted"]
        return f"{taken} of its records were accepted" if taken else ""


class StorageBomb(Flood):
    """Sends adverts, posts and letters, as many and as large as it may."""

    profile = Profile(
        "storage bomb",
        "resources",
        "Douceur 2002; RFC 4732 (denial of service: exhausting storage)",
        "how much is kept of one author",
        "bytes that a relay keeps of it; how long honest tasks take meanwhile",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: Counter[str] = Counter()
        self._cursors: Counter[str] = Counter()
        self._versions = 0

    async def pour(self, session: RelaySession) -> None:
        await self.publish(session, [self._advert() for _ in range(5)])
        await self.publish(session, [self._post() for _ in range(5)])
        for agent in list(self.ground.network.names):
            letter = self._rng.randbytes(limits.LETTER_BYTES_MAX)
            try:
                await session.mail(agent, letter)
            except Refused:
                self.statuses["refused letter"] += 1
            else:
                self.statuses["accepted"] += 1

    def harm(self, world: "World") -> str:
        for relay in world.relays:
            db = relay.disk.look(relay.database)
            if db is None or not relay.is_settled:
                continue
            query = "SELECT cursor, raw FROM record WHERE cursor > ? ORDER BY cursor"
            for cursor, raw in db.execute(query, (self._cursors[relay.name],)).fetchall():
                self._cursors[relay.name] = cursor
                if raw and parse(raw)[0].author == self.keys.agent:
                    self._kept[relay.name] += len(raw)
            if self._kept[relay.name] > KEPT_BYTES_MAX:
                return f"{relay.name} keeps {self._kept[relay.name]} bytes of it"
        return ""

    def figures(self, world: "World") -> Mapping[str, float]:
        kept = max(self._kept.values(), default=0)
        return {**super().figures(world), "bytes kept": kept}

    def _advert(self) -> bytes:
        self._versions += 1
        text = "x" * (limits.TEXT_CHARS_MAX - 1)
        offer = Capability(CAPABILITY, 1, text, b"", b"", 0, 0, 0, (), b"")
        return self.say(Advert(self._versions, "", (offer,), (), (), 1, 0, limits.HOUR_MS))

    def _post(self) -> bytes:
        request = PostRequest(
            capability=CAPABILITY,
            title="much",
            input=self._rng.randbytes(limits.INPUT_INLINE_BYTES_MAX),
            media_type="application/octet-stream",
        )
        nonce = self._rng.randbytes(_DIGEST_BYTES).hex()
        me = self.keys.agent
        return self.say(draft_post(request, poster=me, relay=None, addresses=(), nonce=nonce))


class SlowReader(Stranger):
    """Asks for everything there is, and reads none of it."""

    profile = Profile(
        "slow reader",
        "resources",
        "Cambiaso et al. 2012 (slow denial of service)",
        "bytes that wait for one reader",
        "bytes that wait on its links; how long honest tasks take meanwhile",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked = 0
        self.most = 0

    async def attack(self, transport: Transport) -> None:
        if self.ground.true_s() > _ATTACK_S:
            return
        self.acted_s = self.acted_s or self.ground.true_s()
        for address in self.relays:
            link = await transport.dial(None, [address], RELAY_PROTOCOL)
            subscribe = pack(encode_frame(frames.Subscribe(1, (Filter(),), 0)))
            await link.send(_HELLO + subscribe)
            self.asked += 1

    def outstanding(self, world: "World") -> str:
        del world
        return "" if self.asked else "it has asked for nothing"

    def harm(self, world: "World") -> str:
        waiting = [
            end.backlog_bytes
            for link in self.ground.network.links
            for end in (link, link.far_end)
            if self.keys.agent in {link.peer, link.sender}
        ]
        self.most = max(self.most, sum(waiting))
        is_too_much = len(waiting) > 2 * limits.LINKS_PER_AGENT_MAX * len(world.relays)
        return f"{len(waiting) // 2} links of it are served" if is_too_much else ""

    def figures(self, world: "World") -> Mapping[str, float]:
        del world
        return {"links": self.asked, "bytes waiting at most": self.most}


class ConnectionFlood(Stranger):
    """Opens links, and leaves them as they are."""

    profile = Profile(
        "connection flood",
        "resources",
        "RFC 4987 (SYN floods); slowloris",
        "links of one identity, and links on which nobody says hello",
        "links that are open at once; how long honest tasks take meanwhile",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._open: dict[Link, bool] = {}
        self.opened = 0
        self.most = 0
        self._welcomed = 0

    async def attack(self, transport: Transport) -> None:
        async with asyncio.TaskGroup() as tasks:
            while self.ground.true_s() < _ATTACK_S:
                self.acted_s = self.acted_s or self.ground.true_s()
                with suppress(Unreachable):
                    link = await transport.dial(None, [self._next_relay()], RELAY_PROTOCOL)
                    self.opened += 1
                    tasks.create_task(self._leave_open(link, greets=self.opened % 2 == 0))
                await asyncio.sleep(1 / _LINKS_PER_S)

    def outstanding(self, world: "World") -> str:
        del world
        return "" if self.opened > len(self._open) else "none of its links was ended"

    def harm(self, world: "World") -> str:
        most = limits.LINKS_PER_AGENT_MAX * len(world.relays)
        return f"{self._welcomed} links of it are served" if self._welcomed > most else ""

    def figures(self, world: "World") -> Mapping[str, float]:
        del world
        return {"opened": self.opened, "open at most": self.most}

    def _next_relay(self) -> str:
        return self.relays[self.opened % len(self.relays)]

    async def _leave_open(self, link: Link, *, greets: bool) -> None:
        self._open[link] = True
        self.most = max(self.most, len(self._open))
        welcomed = False
        try:
            if greets:
                await link.send(_HELLO)
            while True:
                bodies = await link.receive()
                if not welcomed and isinstance(frames.decode_from_relay(bodies[0]), frames.Welcome):
                    welcomed = True
                    self._welcomed += 1
        except LinkClosed:
            pass
        finally:
            self._welcomed -= welcomed
            self._open.pop(link)
