"""The node's API and its client, over a real socket."""

import asyncio
import io
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.memory_node import MemoryNode
from tests.served import Served, answering, served

from bazaar_node.api import api_socket
from bazaar_node.api.api import serve_api
from bazaar_node.api.client import Client
from bazaar_node.service import OfferRequest, PostRequest, TaskDetail
from bazaar_protocol import limits
from bazaar_protocol.errors import (
    AddressInUse,
    ConfigError,
    IllegalTransition,
    NotFound,
    NotRunning,
    Refused,
    StaleEpoch,
    TimedOut,
    TooLarge,
)

STOPPED_WITHIN_S = 2.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def api(home: Path) -> Generator[Served]:
    with served(home) as running:
        yield running


def post(api: Served, capability: str = "text.count", **fields: object) -> str:
    return api.client.post(PostRequest(capability=capability, **fields)).id  # type: ignore[arg-type]


def test_a_task_lives_its_life_through_the_client(api: Served) -> None:
    task = post(api, input=b"one two", title="count", accept="human")
    taken = api.client.next_task(capabilities=("text.count",), wait_s=5)
    assert taken is not None
    assert (taken.task, taken.untrusted_input, taken.epoch) == (task, b"one two", 1)
    api.client.heartbeat(task, progress=50, note="half")
    delivered = api.client.deliver(task[:8], b"2", media_type="text/plain")
    assert (delivered.state, delivered.result_media_type) == ("delivered", "text/plain")
    assert api.client.status().awaiting_approval == 1
    assert api.client.decide(task, accepted=True, reason="right").state == "accepted"
    file = io.BytesIO()
    assert api.client.fetch(task, file) == 1
    assert file.getvalue() == b"2"
    assert api.client.audit(task).is_sound
    assert [event.what for event in api.client.task(task).events] == [
        "post", "accept", "heartbeat", "deliver", "verdict",
    ]  # fmt: skip


def test_offers_are_made_found_and_withdrawn(api: Served) -> None:
    made = api.client.offer(OfferRequest(capability="text.count", description="counts words"))
    assert api.client.offers() == [made]
    (found,) = api.client.find(capability="text", words="words", limit=5)
    assert found.capability == "text.count"
    assert api.client.find(words="elephants") == []
    api.client.retract("text.count")
    assert api.client.offers() == []


def test_tasks_are_listed_by_role_and_state(api: Served) -> None:
    first, second = post(api), post(api)
    api.client.cancel(first, reason="no need")
    assert [task.id for task in api.client.tasks()] == [second, first]
    assert [task.id for task in api.client.tasks(state="cancelled")] == [first]
    assert api.client.tasks(role="worker") == []
    assert [task.id for task in api.client.tasks(limit=1)] == [second]


def test_nobody_but_the_owner_can_open_the_socket(api: Served) -> None:
    mode = (api.home / api_socket.NAME).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    before = os.umask(0)
    os.umask(before)
    assert before != 0o177, "the mask of the process is as it was"


def test_errors_arrive_as_what_they_were(api: Served) -> None:
    with pytest.raises(NotFound, match="no task abcd"):
        api.client.task("abcd")
    with pytest.raises(NotFound, match="no task abcd"):
        next(iter(api.client.watch("abcd")))
    task = post(api)
    with pytest.raises(IllegalTransition) as illegal:
        api.client.decide(task, accepted=True)
    assert (illegal.value.state, illegal.value.event) == ("open", "verdict")
    api.client.next_task()
    api.do(api.node.lose_lease(task))
    with pytest.raises(StaleEpoch) as stale:
        api.client.heartbeat(task)
    assert (stale.value.have, stale.value.need) == (1, 2)
    prefix = common_prefix(api)
    with pytest.raises(Refused) as ambiguous:
        api.client.task(prefix)
    assert ambiguous.value.prefix == "ambiguous"


def common_prefix(api: Served) -> str:
    """Post until two ids begin alike."""
    while True:
        firsts = [task.id[0] for task in api.client.tasks()]
        for first in firsts:
            if firsts.count(first) > 1:
                return first
        post(api)


def test_an_error_names_its_code_and_the_next_command(api: Served) -> None:
    answer = api.raw(b"GET /v1/tasks/abcd HTTP/1.1\r\nHost: bazaar\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 404 " in head.splitlines()[0]
    assert json.loads(body)["error"] == {
        "code": "not-found",
        "message": "no task abcd",
        "next": "bazaar tasks",
        "detail": {},
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Host: bazaar", b"200"),
        (b"Host: localhost:80", b"200"),
        (b"Host: evil.example", b"421"),
        (b"Host: bazaar.evil.example", b"421"),
        (b"Host: bazaar\r\nOrigin: http://evil.example", b"403"),
        (b"Host: localhost\r\nOrigin: null", b"403"),
        (b"Host: localhost\r\nSec-Fetch-Site: cross-site", b"403"),
    ],
)
def test_pages_in_a_browser_are_refused(api: Served, headers: bytes, status: bytes) -> None:
    answer = api.raw(b"GET /v1/status HTTP/1.1\r\n" + headers + b"\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == status
    assert (b'"agent"' in answer) == (status == b"200")


@pytest.mark.parametrize(
    "request_line",
    [
        b"POST /v1/tasks", b"POST /v1/tasks/a/cancel", b"POST /v1/offers", b"POST /v1/work/next",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"capability": 3}', b'{"x": 1}', b"\xff", b"[" * 9_000]
)
def test_what_is_not_understood_is_refused(api: Served, request_line: bytes, body: bytes) -> None:
    head = b" HTTP/1.1\r\nHost: bazaar\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    answer = api.raw(request_line + head % len(body) + body)
    assert answer.split(b" ", 2)[1] == b"400"
    assert b'"code":"config"' in answer


def test_unknown_paths_methods_and_queries_are_refused_in_json(api: Served) -> None:
    for line, status in (
        (b"GET /v2", b"404"),
        (b"DELETE /v1/status", b"405"),
        (b"GET /v1/tasks?limit=0", b"400"),
        (b"GET /v1/tasks?limit=9999999999999999999999", b"400"),
        (b"GET /v1/tasks?role=king", b"400"),
    ):
        answer = api.raw(line + b" HTTP/1.1\r\nHost: bazaar\r\nConnection: close\r\n\r\n")
        assert answer.split(b" ", 2)[1] == status
        assert b'{"error"' in answer


def test_a_body_too_large_is_refused_before_it_is_sent_and_before_it_is_read(api: Served) -> None:
    with pytest.raises(TooLarge):
        api.client.deliver("a", bytes(limits.API_BODY_BYTES_MAX + 1), media_type="x/y")
    head = b"PUT /v1/tasks/a/result HTTP/1.1\r\nHost: bazaar\r\nContent-Length: %d\r\n\r\n"
    answer = api.raw(head % (limits.API_BODY_BYTES_MAX + 1))
    assert answer.split(b" ", 2)[1] == b"413"


def test_a_body_without_a_length_is_counted_as_it_comes(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_BODY_BYTES_MAX", 100_000)
    head = b"PUT /v1/tasks/a/result HTTP/1.1\r\nHost: bazaar\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = api.raw(head + b"186a1\r\n" + bytes(0x186A1) + b"\r\n")
    assert answer.split(b" ", 2)[1] == b"413"


def test_the_bodies_of_all_requests_are_bounded_together(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_BODIES_BYTES_MAX", 1_000)
    with pytest.raises(Refused) as refused:
        post(api, input=bytes(2_000))
    assert refused.value.prefix == "busy"
    assert post(api, input=b"small"), "what was refused is no longer counted"


def test_a_large_result_arrives_whole(api: Served) -> None:
    task = post(api)
    api.client.next_task()
    data = os.urandom(3 * limits.MIB)
    api.client.deliver(task, data, media_type="application/octet-stream")
    file = io.BytesIO()
    assert api.client.fetch(task, file) == len(data)
    assert file.getvalue() == data


def test_a_body_has_a_deadline(home: Path) -> None:
    with served(home, body_timeout_s=0.2) as api:
        begun = time.monotonic()
        answer = api.raw(b"POST /v1/tasks HTTP/1.1\r\nHost: bazaar\r\nContent-Length: 9\r\n\r\n{")
        assert answer.split(b" ", 2)[1] == b"408"
        assert b'"timed-out"' in answer
        assert time.monotonic() - begun < 3


def test_a_watcher_sees_each_change_and_the_end(api: Served) -> None:
    task = post(api)
    states: list[tuple[str, int]] = []
    for detail in api.client.watch(task, timeout_s=10):
        states.append((detail.task.state, detail.task.progress))
        match len(states):
            case 1:
                api.client.next_task()
            case 2:
                api.client.heartbeat(task, progress=30)
            case 3:
                api.client.deliver(task, b"x", media_type="text/plain")
            case _:
                pass
    assert states == [("open", 0), ("running", 0), ("running", 30), ("accepted", 30)]
    api.do(api.node.watchers.reaches(0))


def test_a_watcher_that_leaves_is_forgotten(api: Served) -> None:
    task = post(api)
    watching = api.client.watch(task)
    next(iter(watching))
    assert api.node.watchers.value == 1
    watching.close()  # type: ignore[attr-defined]
    api.do(api.node.watchers.reaches(0))


def test_waiting_has_a_deadline(api: Served) -> None:
    task = post(api)
    with pytest.raises(TimedOut):
        list(api.client.watch(task, timeout_s=0.2))
    assert api.client.next_task(capabilities=("other",), wait_s=0.1) is None


def test_nobody_who_has_left_is_given_work(api: Served) -> None:
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(api.home / api_socket.NAME))
        body = b'{"wait_s":30}'
        head = b"POST /v1/work/next HTTP/1.1\r\nHost: bazaar\r\nContent-Length: %d\r\n\r\n"
        plain.sendall(head % len(body) + body)
        api.do(api.node.takers.reaches(1))
    api.do(api.node.takers.reaches(0))
    task = post(api)
    taken = api.client.next_task()
    assert taken is not None
    assert (taken.task, taken.epoch) == (task, 1)


def test_it_tells_whether_it_lives_and_is_ready(api: Served) -> None:
    assert api.client.page("/livez") == "ok\n"
    assert api.client.page("/readyz") == "ok\n"
    assert "agent: " in api.client.page("/statusz")
    assert "process_cpu_seconds_total" in api.client.page("/metrics")
    api.node.is_ready = False
    answer = api.raw(b"GET /readyz HTTP/1.1\r\nHost: bazaar\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == b"503"
    assert b"no relay" in answer


def test_without_a_node_the_client_says_what_to_do(home: Path) -> None:
    with pytest.raises(NotRunning, match="start one: bazaar up"):
        Client(home).status()
    with pytest.raises(NotRunning):
        Client(home / "nowhere").status()
    with pytest.raises(ConfigError, match="shorter --home"):
        Client(home / ("x" * 120)).status()


async def test_it_stops_in_time_with_a_watcher_attached(home: Path) -> None:
    node, stop = MemoryNode(home), asyncio.Event()
    api = asyncio.create_task(serve_api(node, home / api_socket.NAME, stop))
    await answering(home / api_socket.NAME, api)
    task = await node.post(PostRequest(capability="a"))
    seen: list[TaskDetail] = []
    watching = threading.Thread(
        target=lambda: seen.extend(Client(home).watch(task.id, timeout_s=10))
    )
    watching.start()
    lazy, asking = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    with lazy, asking:
        lazy.connect(str(home / api_socket.NAME))
        lazy.sendall(b"GET /v1/sta")  # and never the rest
        asking.connect(str(home / api_socket.NAME))
        asking.sendall(
            b"POST /v1/work/next HTTP/1.1\r\nHost: bazaar\r\nContent-Length: 36\r\n\r\n"
            b'{"capabilities":["z"],"wait_s":30.0}'
        )
        await node.watchers.reaches(1)
        await node.takers.reaches(1)
        begun = time.monotonic()
        stop.set()
        await api
        assert time.monotonic() - begun < STOPPED_WITHIN_S
    await asyncio.to_thread(watching.join, 10)
    assert [detail.task.state for detail in seen] == ["open"]
    assert not (home / api_socket.NAME).exists()


async def test_a_socket_in_use_is_left_alone_and_a_stale_one_replaced(home: Path) -> None:
    path, stop = home / api_socket.NAME, asyncio.Event()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = asyncio.create_task(serve_api(MemoryNode(home), path, stop))
    await answering(path, first)
    with pytest.raises(AddressInUse, match="another node answers"):
        await serve_api(MemoryNode(home), path, stop)
    await answering(path, first)
    stop.set()
    await first
    path.write_text("precious")
    with pytest.raises(AddressInUse, match="no socket"):
        await serve_api(MemoryNode(home), path, stop)
    assert path.read_text() == "precious"
