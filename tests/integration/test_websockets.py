"""WebSockets from the outside: hostile upgrades, a client of another make, a real reverse proxy."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.attackers import MULTISTREAM, Caller, hang_up
from tests.certificates import make_certificate
from tests.links import Program, WebSocketPlace, check_echo
from tests.nginx import NGINX, nginx
from tests.processes import node_up, relay_up, run
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Event, Ping, Pong, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from bazaar_host.addresses import Address
from bazaar_host.admission import ConnectionLimits
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_protocol import limits
from bazaar_protocol.errors import AddressInUse, ConfigError, Unreachable
from bazaar_protocol.identity import Keypair

pytestmark = pytest.mark.xdist_group("heavy")

PLACE = WebSocketPlace()
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@asynccontextmanager
async def victim(
    per_address_max: int = 64, proxies: frozenset[str] = frozenset()
) -> AsyncGenerator[Program]:
    keys = Keypair.from_name("victim")
    inbound: asyncio.Queue[Link] = asyncio.Queue()
    bounds = ConnectionLimits(per_address_max=per_address_max, proxies=proxies)
    async with Libp2pTransport.open(
        keys, [PLACE.listen], [RELAY_PROTOCOL], inbound.put_nowait, bounds=bounds
    ) as transport:
        yield Program(transport, keys, inbound)


@pytest.fixture
async def host() -> AsyncGenerator[Program]:
    async with victim() as program:
        yield program


def address_of(host: Program) -> str:
    return host.transport.addresses[0]


async def check_serves(host: Program) -> None:
    async with PLACE.open("newcomer", listen=[]) as newcomer:
        await check_echo(*await newcomer.pair(host))


class Visitor:
    """A WebSocket client that knows nothing of libp2p."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self.early: list[Event] = []

    @classmethod
    async def upgraded(cls, host: Program, *headers: tuple[bytes, bytes]) -> "Visitor":
        visitor = cls(await Caller.connect(address_of(host)))
        extensions = [PerMessageDeflate()]
        await visitor.send(
            Request("relay", "/", extensions=extensions, extra_headers=list(headers))
        )
        answers = await visitor.receive()
        if not answers:
            await visitor.caller.close()
            raise ConnectionResetError("hung up on")
        answer, *visitor.early = answers
        assert isinstance(answer, AcceptConnection)
        assert answer.extensions == []  # what is compressed could unfold to any size
        return visitor

    async def send(self, event: Event) -> None:
        self.caller.writer.write(self.protocol.send(event))
        await self.caller.writer.drain()

    async def receive(self) -> list[Event]:
        if self.early:
            early, self.early = self.early, []
            return early
        while True:
            data = await asyncio.wait_for(self.caller.reader.read(65_536), 5)
            if not data:
                return []
            self.protocol.receive_data(data)
            if events := list(self.protocol.events()):
                return events


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x16\x03\x01\x02\x00" + bytes(500),  # TLS
        MULTISTREAM,
        b"POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"\xff" * 100 + b"\r\n\r\n",
        UPGRADE.replace(b"Host: relay", b"Host: " + b"xn--" * 900) + b"\r\n",
        UPGRADE.replace(b"GET", b"PUT") + b"\r\n",
        UPGRADE.replace(b": 13", b": 8") + b"\r\n",
        UPGRADE + b"X: " + b"y" * 1_000_000,
        UPGRADE + b"\r\n" + b"\x82\x05hello",  # not masked, as a client's have to be
        UPGRADE + b"\r\n" + b"\x82\xff" + b"\xff" * 12,  # a frame of 2**64 bytes
        UPGRADE + b"\r\n" + b"\x89\xfe\xff\xff" + bytes(70_000),  # a ping of 64 KiB
        UPGRADE + b"\r\n" + b"\xc2\x80" + bytes(4),  # a bit that nobody has agreed on
        UPGRADE + b"\r\n" + bytes(range(256)) * 40,
        b"\r\n" * 100_000,
    ],
    ids=range(16),
)
async def test_garbage_instead_of_an_upgrade_harms_nobody(host: Program, raw: bytes) -> None:
    caller = await Caller.connect(address_of(host))
    caller.writer.write(raw)
    with suppress(OSError):
        caller.writer.write_eof()
    await caller.end()
    await check_serves(host)
    assert host.inbound.empty()


async def test_who_wants_a_page_is_told_that_there_is_none(host: Program) -> None:
    caller = await Caller.connect(address_of(host))
    caller.writer.write(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
    answer = await asyncio.wait_for(caller.reader.read(100), 5)
    assert answer.startswith(b"HTTP/1.1 400 ")
    await caller.end()


@pytest.mark.parametrize("begin", [b"", UPGRADE, UPGRADE + b"\r\n"])
async def test_slow_upgrades_are_ended(
    host: Program, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "NEGOTIATION_TIMEOUT_S", 0.2)
    callers = [await Caller.connect(address_of(host)) for _ in range(20)]
    for caller in callers:
        caller.writer.write(begin)
    for caller in callers:
        await caller.end()
    await check_serves(host)


async def test_text_ends_the_connection(host: Program) -> None:
    visitor = await Visitor.upgraded(host)
    await visitor.send(TextMessage(data="hello"))
    await visitor.caller.end()
    await check_serves(host)


async def test_pings_are_answered_between_messages(host: Program) -> None:
    visitor = await Visitor.upgraded(host)
    await visitor.send(BytesMessage(data=MULTISTREAM[:3], message_finished=False))
    await visitor.send(Ping(payload=b"there?"))
    await visitor.send(BytesMessage(data=MULTISTREAM[3:]))
    events: list[Event] = []
    while len(events) < 2:
        events += await visitor.receive()
    assert Pong(payload=b"there?") in events
    data = b"".join(bytes(event.data) for event in events if isinstance(event, BytesMessage))
    assert data == MULTISTREAM
    await visitor.caller.close()


async def test_who_pings_without_reading_is_not_read_from_for_ever(
    host: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "NEGOTIATION_TIMEOUT_S", 1.0)
    visitor = await Visitor.upgraded(host)
    pings = visitor.protocol.send(Ping(payload=b"p" * 100)) * 1000

    async def flood() -> None:
        while True:
            visitor.caller.writer.write(pings)
            await visitor.caller.writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(flood(), 10)
    await visitor.caller.close()
    await check_serves(host)


async def admitted(host: Program, *headers: tuple[bytes, bytes]) -> Visitor | None:
    """Return a visitor if it is let in as far as the handshake of libp2p."""
    visitor = await Visitor.upgraded(host, *headers)
    try:
        await visitor.send(BytesMessage(data=MULTISTREAM))
        if await visitor.receive():
            return visitor
    except ConnectionError:
        pass
    await visitor.caller.close()
    return None


async def test_behind_a_proxy_each_address_has_its_connections() -> None:
    async with victim(per_address_max=2, proxies=frozenset(["127.0.0.1"])) as host:
        first = (b"X-Forwarded-For", b"203.0.113.1")
        # What the client itself claims stands before what the proxy adds.
        claimed = (b"X-Forwarded-For", b"10.0.0.7, 203.0.113.1")
        visitors = [await admitted(host, first), await admitted(host, claimed)]
        assert all(visitors)
        assert await admitted(host, first) is None
        visitors.append(await admitted(host, (b"X-Forwarded-For", b"2001:db8::1")))
        for visitor in visitors:
            assert visitor
            await visitor.caller.close()
        async with asyncio.timeout(5):
            while not (again := await admitted(host, first)):
                pass
        await again.caller.close()


async def test_who_is_no_proxy_of_ours_is_not_believed() -> None:
    async with victim(per_address_max=2) as host:
        headers = [(b"X-Forwarded-For", f"203.0.113.{number}".encode()) for number in range(3)]
        visitors = [await admitted(host, header) for header in headers[:2]]
        assert all(visitors)
        with pytest.raises(ConnectionError):
            await Visitor.upgraded(host, headers[2])
        for visitor in visitors:
            assert visitor
            await visitor.caller.close()


async def test_a_link_through_a_proxy_tells_where_it_comes_from() -> None:
    async with (
        victim(proxies=frozenset(["127.0.0.1"])) as host,
        forwarding(host, b"203.0.113.9") as address,
        PLACE.open("caller", listen=[]) as ours,
    ):
        await ours.transport.dial(host.agent, [address], RELAY_PROTOCOL)
        theirs = await asyncio.wait_for(host.inbound.get(), 5)
        assert theirs.address == "203.0.113.9"


@asynccontextmanager
async def forwarding(host: Program, origin: bytes) -> AsyncGenerator[str]:
    """A reverse proxy that does nothing but say whom it serves."""
    place = Address.parse(address_of(host))
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        above, below = await asyncio.open_connection(place.host, place.port)
        writers.append(below)
        line = await reader.readline()
        below.write(line + b"X-Forwarded-For: " + origin + b"\r\n")
        for pair in ((reader, below), (above, writer)):
            tasks.add(asyncio.create_task(copy(*pair)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield str(Address("127.0.0.1", port, place.peer, "ws"))
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await hang_up(writers)


async def test_dialing_what_is_no_websocket_says_so() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    agent = Keypair.from_name("nobody").agent
    for serve, says in ((page, "HTTP status 404"), (hang_up, "left")):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, PLACE.open("caller", listen=[]) as ours:
            with pytest.raises(Unreachable, match=says):
                await ours.transport.dial(agent, [f"/ip4/127.0.0.1/tcp/{port}/ws"], RELAY_PROTOCOL)


async def test_tls_is_left_to_a_proxy() -> None:
    with pytest.raises(ConfigError, match="reverse proxy"):
        async with PLACE.open("server", listen=["/ip4/127.0.0.1/tcp/0/wss"]):
            pass


async def test_one_port_cannot_be_both() -> None:
    async with PLACE.open("server") as server:
        taken = Address.parse(server.transport.addresses[0])
        with pytest.raises(AddressInUse):
            async with PLACE.open("other", listen=[f"/ip4/127.0.0.1/tcp/{taken.port}"]):
                pass


@pytest.mark.slow
@needs_nginx
async def test_a_relay_serves_nodes_through_nginx_with_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    (tmp_path / "relay").mkdir()
    (tmp_path / "relay" / "bazaar.toml").write_text('[relay]\nproxies = ["127.0.0.1"]\n')
    async with relay_up(tmp_path / "relay", "--listen", PLACE.listen) as relay:
        addresses = [Address.parse(text) for text in await addresses_of(relay.home)]
        (inner,) = [address for address in addresses if address.way == "ws"]
        async with nginx(tmp_path, inner.port, certificate) as port:
            public = str(Address("127.0.0.1", port, inner.peer, "wss"))
            outside = type(relay)(relay.process, relay.home, public)
            async with (
                node_up(tmp_path / "bo", outside, "--offer", "text.echo", "--exec", "cat"),
                node_up(tmp_path / "ada", outside) as ada,
            ):
                result = await run(
                    "post", "-c", "text.echo", "-i", "hello", "--type", "text/plain", "--price",
                    "3", "--wait", "--home", str(ada.home),
                )  # fmt: skip
                assert "hello" in result


async def addresses_of(home: Path) -> list[str]:
    return list(json.loads((home / "running.json").read_text())["addresses"])


@needs_nginx
async def test_a_certificate_of_somebody_else_is_refused(
    tmp_path: Path, host: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "192.0.2.1")
    inner = Address.parse(address_of(host))
    async with (
        nginx(tmp_path, inner.port, certificate) as port,
        PLACE.open("caller", listen=[]) as ours,
    ):
        public = str(Address("127.0.0.1", port, inner.peer, "wss"))
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await ours.transport.dial(None, [public], RELAY_PROTOCOL)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        with pytest.raises(Unreachable, match="IP address mismatch"):
            await ours.transport.dial(None, [public], RELAY_PROTOCOL)
