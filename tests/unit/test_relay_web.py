"""What a relay shows over HTTP: to programs, to people, to who watches it."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from html.parser import HTMLParser
from http.client import HTTPConnection

import msgspec
import pytest
from tests.market_records import Trader
from tests.relay_client import Client

from bazaar_host import clock
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_host.memory import MemoryNetwork
from bazaar_protocol.errors import StorageFull
from bazaar_protocol.identity import Keypair, to_did
from bazaar_relay.serving.information import About
from bazaar_relay.serving.page import HEADERS
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.serving.web import open_web
from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_relay.storage.store import Batch, Kept

KEYS = Keypair.from_name("relay")
PEOPLE = "text/html,application/xhtml+xml,*/*;q=0.8"
EVIL = """<script>alert(1)</script>"'&\u202e"""


class Disk(MemoryStore):
    """A store whose disk may be full."""

    is_full = False

    async def commit(self, batch: Batch) -> Kept:
        if self.is_full:
            raise StorageFull("no room")
        return await super().commit(batch)


class Elements(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    text: str


class Ask:
    """Asks over HTTP, as a browser does."""

    def __init__(self, place: str) -> None:
        self._place = place

    async def __call__(self, path: str, accept: str = "*/*", *, method: str = "GET") -> Answer:
        return await asyncio.to_thread(self._ask, path, accept, method)

    def _ask(self, path: str, accept: str, method: str) -> Answer:
        connection = HTTPConnection(self._place, timeout=10)
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, answer.headers, text)


@asynccontextmanager
async def served(about: About | None = None) -> AsyncGenerator[tuple[RelayService, Ask, Disk]]:
    store = Disk(bytes(32))
    async with RelayService.open(KEYS, store, Options(about=about or About())) as service:
        service.addresses = ["/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWNDoN"]
        async with open_web(service, ("127.0.0.1", 0)) as place:
            yield service, Ask(place), store


@asynccontextmanager
async def connected(service: RelayService) -> AsyncGenerator[Client]:
    network = MemoryNetwork()
    keys = Keypair.from_name("ada")
    async with (
        network.open(KEYS, ["/memory/relay"], [RELAY_PROTOCOL], service.on_link) as relay,
        network.open(keys, [], [], lambda link: link.close()) as transport,
    ):
        client = Client(await transport.dial(None, relay.addresses, RELAY_PROTOCOL))
        await client.hello()
        yield client


async def test_programs_get_the_document_and_people_the_page() -> None:
    async with served() as (_, ask, _):
        for accepted in ("application/bazaar+json", "*/*", "application/bazaar+json, text/html"):
            answer = await ask("/", accepted)
            assert answer.headers["content-type"] == "application/bazaar+json"
            assert msgspec.json.decode(answer.text)["pubkey"] == to_did(KEYS.agent)
            assert answer.headers["vary"] == "Accept"
        page = await ask("/", PEOPLE)
        assert page.headers["content-type"].startswith("text/html")
        assert "bazaar up --relay /ip4/192.0.2.1/tcp/4001/p2p/12D3KooWNDoN" in page.text
        assert to_did(KEYS.agent) in page.text
        assert "serving</span> for" in page.text


async def test_what_an_operator_writes_is_text_and_nothing_else() -> None:
    async with served(About(EVIL, EVIL, EVIL)) as (service, ask, _):
        service.addresses = [f"/dns4/{EVIL}/tcp/1"]
        text = (await ask("/", PEOPLE)).text
    elements = Elements(text)
    assert "script" not in elements.tags
    assert text.count("&lt;script&gt;alert(1)") >= 5
    assert not [name for name, _ in elements.attributes if name.startswith("on")]


async def test_the_page_needs_nothing_from_anywhere_and_allows_nothing() -> None:
    async with served() as (_, ask, _):
        answer = await ask("/", PEOPLE)
    elements = Elements(answer.text)
    assert not {"script", "img", "link", "iframe", "form", "object"} & set(elements.tags)
    assert not {"src", "href", "style", "action"} & {name for name, _ in elements.attributes}
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


async def test_it_is_ready_while_it_serves_and_not_while_it_cannot_keep_anything() -> None:
    async with served() as (service, ask, store), AsyncExitStack() as stack:
        assert (await ask("/readyz")).text == "ready\n"
        client = await stack.enter_async_context(connected(service))
        ada = Trader.named("ada", clock.now_ms())
        begin = ada.genesis()
        store.is_full = True
        assert (await client.publish(begin))[0].startswith("storage: ")
        answer = await ask("/readyz")
        assert (answer.status, answer.text) == (503, "not ready: it cannot keep records\n")
        assert (await ask("/healthz")).status == 200
        assert "not serving: it cannot keep records" in (await ask("/", PEOPLE)).text
        store.is_full = False
        assert await client.publish(begin) == ("accepted",)
        assert (await ask("/readyz")).status == 200
        await service.drain()
        assert (await ask("/readyz")).text == "not ready: it is stopping\n"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics"])
async def test_nothing_can_be_changed_from_there(path: str) -> None:
    async with served() as (_, ask, _):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await ask(path, method=method)).status == 405


async def test_the_document_is_json_of_known_names() -> None:
    async with served() as (service, _, _):
        document = msgspec.json.decode(service.information())
    assert all(re.fullmatch(r"[a-z_0-9]+", name) for name in document["limitation"])
