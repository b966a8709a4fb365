"""A client of a node's own API, for commands and other programs that wait for one thing at a time.

It has the methods of ``NodeService`` and raises the same errors. It is made of the standard library
alone, because a command that answers at once must not load an event loop first.
"""

import socket
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from bazaar_node.api import api_errors, api_socket
from bazaar_node.pledge_service import StampView, VouchRequest
from bazaar_node.service import (
    Assignment,
    AuditReport,
    CanaryRequest,
    CanaryView,
    Found,
    OfferRequest,
    OfferView,
    PostRequest,
    Role,
    Status,
    TaskDetail,
    TaskView,
)
from bazaar_node.trust_service import (
    FileView,
    ImportView,
    RebuildView,
    ReputationView,
    Standing,
    WhyView,
)
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, LocalError, NotRunning, TimedOut, TooLarge

T = TypeVar("T")

TIMEOUT_S: Final = 30.0

_HOST: Final = "bazaar"
_CHUNK_BYTES: Final = 64 * 1024
_LINE_BYTES_MAX: Final = 64 * 1024 * 1024
_MARGIN_S: Final = 5.0
_USUAL: Final = -1.0
_HTTP_OK: Final = 200
_HTTP_EMPTY: Final = 204
_HTTP_OK_END: Final = 300


class _Tasks(msgspec.Struct):
    tasks: list[TaskView]


class _Offers(msgspec.Struct):
    offers: list[OfferView]


class _Canaries(msgspec.Struct):
    canaries: list[CanaryView]


class _Finds(msgspec.Struct):
    found: list[Found]


class Client:
    """The node in the folder ``home``; each call is a connection of its own.

    Every method may raise ``NotRunning`` (no node is there, or it ended meanwhile), ``TimedOut``
    (it took longer than ``timeout_s``), and whatever the node answered.
    """

    def __init__(self, home: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._home = home
        self._timeout_s = timeout_s

    def status(self) -> Status:
        """Return how the node is."""
        return self._ask("GET", "/v1/status", Status)

    def post(self, request: PostRequest) -> TaskView:
        """Post a task; it is durable when this returns."""
        return self._ask("POST", "/v1/tasks", TaskView, request)

    def tasks(
        self, *, role: Role | None = None, state: str | None = None, limit: int = 100
    ) -> list[TaskView]:
        """Return tasks, newest first."""
        query = urlencode({"role": role or "", "state": state or "", "limit": limit})
        return self._ask("GET", f"/v1/tasks?{query}", _Tasks).tasks

    def task(self, task: str) -> TaskDetail:
        """Return one task with its history."""
        return self._ask("GET", _task(task), TaskDetail)

    def watch(self, task: str, *, timeout_s: float | None = None) -> Iterator[TaskDetail]:
        """Yield the task now and after each change, until it is over.

        The stream also ends when the node is stopped: the last task then is not over.

        Raises:
            TimedOut: It was not over within ``timeout_s``.

        """
        decoder = msgspec.json.Decoder(TaskDetail)
        with self._answer("GET", f"{_task(task)}/watch", timeout_s=timeout_s) as reply:
            while line := reply.line():
                if line.startswith(b'{"error"'):
                    raise api_errors.decode(line, _HTTP_OK)
                yield _decoded(decoder, line)

    def cancel(self, task: str, *, reason: str = "") -> TaskView:
        """Take back a task of ours, or leave the attempt that we are working on."""
        return self._ask("POST", f"{_task(task)}/cancel", TaskView, {"reason": reason})

    def decide(self, task: str, *, accepted: bool, reason: str = "") -> TaskView:
        """Give the verdict that a task waits for."""
        body = {"accepted": accepted, "reason": reason}
        return self._ask("POST", f"{_task(task)}/decide", TaskView, body)

    def dispute(self, task: str, *, reason: str) -> TaskView:
        """Contradict the rejection of a result of ours."""
        return self._ask("POST", f"{_task(task)}/dispute", TaskView, {"reason": reason})

    def fetch(self, task: str, to: BinaryIO) -> int:
        """Write the result of a task to ``to``; return its size."""
        size = 0
        with self._answer("GET", f"{_task(task)}/result", timeout_s=None) as reply:
            while chunk := reply.read(_CHUNK_BYTES):
                to.write(chunk)
                size += len(chunk)
        return size

    def offers(self) -> list[OfferView]:
        """Return what this node offers."""
        return self._ask("GET", "/v1/offers", _Offers).offers

    def offer(self, request: OfferRequest) -> OfferView:
        """Offer a capability, now and after restarts."""
        return self._ask("POST", "/v1/offers", OfferView, request)

    def retract(self, capability: str) -> None:
        """Stop offering a capability."""
        self._tell("DELETE", f"/v1/offers/{quote(capability, safe='')}")

    def canaries(self) -> list[CanaryView]:
        """Return the answers that the node knows, to try strangers with."""
        return self._ask("GET", "/v1/canaries", _Canaries).canaries

    def add_canary(self, request: CanaryRequest) -> CanaryView:
        """Keep an input with the hash of its one right result."""
        return self._ask("POST", "/v1/canaries", CanaryView, request)

    def remove_canary(self, number: int) -> None:
        """Forget a canary."""
        self._tell("DELETE", f"/v1/canaries/{number}")

    def vouch(self, agent: str, *, is_withdrawn: bool = False) -> None:
        """Answer for an agent, or no longer."""
        self._tell("POST", "/v1/vouches", VouchRequest(agent=agent, is_withdrawn=is_withdrawn))

    def stamp(self) -> StampView:
        """Do a proof of work for the node's identity, and publish it."""
        return self._ask("POST", "/v1/stamp", StampView)

    def find(self, *, capability: str = "", words: str = "", limit: int = 100) -> list[Found]:
        """Ask the relays who offers what."""
        query = urlencode({"capability": capability, "words": words, "limit": limit})
        return self._ask("GET", f"/v1/find?{query}", _Finds).found

    def audit(self, target: str) -> AuditReport:
        """Check everything behind a task (by id) or an agent (by did:key) again."""
        return self._ask("GET", f"/v1/audit/{quote(target, safe='')}", AuditReport)

    def reputation(
        self, agent: str, *, role: Standing = "worker", capability: str = ""
    ) -> ReputationView:
        """Return what may be expected of an agent."""
        query = urlencode({"role": role, "capability": capability})
        return self._ask("GET", f"{_agent(agent)}/reputation?{query}", ReputationView)

    def why(
        self, agent: str, *, role: Standing = "worker", capability: str = "", limit: int = 50
    ) -> WhyView:
        """Return what carries that score."""
        query = urlencode({"role": role, "capability": capability, "limit": limit})
        return self._ask("GET", f"{_agent(agent)}/why?{query}", WhyView)

    def export_evidence(self, path: Path, agent: str = "") -> FileView:
        """Write all evidence, or what there is about one agent, to a new file."""
        body = {"path": str(path.absolute()), "agent": agent}
        return self._ask("POST", "/v1/evidence/export", FileView, body)

    def import_evidence(self, path: Path) -> ImportView:
        """Take over a file of evidence, each record checked."""
        return self._ask("POST", "/v1/evidence/import", ImportView, {"path": str(path.absolute())})

    def rebuild_evidence(self) -> RebuildView:
        """Derive everything anew from the records, and say what that changes."""
        return self._ask("POST", "/v1/evidence/rebuild", RebuildView)

    def next_task(
        self, *, capabilities: tuple[str, ...] = (), wait_s: float = 0.0
    ) -> Assignment | None:
        """Take the next task awarded to us that no program does; None when none came in time."""
        body = {"capabilities": capabilities, "wait_s": wait_s}
        timeout_s = wait_s + _MARGIN_S
        with self._answer("POST", "/v1/work/next", body, timeout_s=timeout_s) as reply:
            if reply.status == _HTTP_EMPTY:
                return None
            return _decoded(msgspec.json.Decoder(Assignment), reply.rest())

    def heartbeat(self, task: str, *, progress: int = 0, note: str = "") -> None:
        """Report progress on an assignment."""
        self._tell("POST", f"{_task(task)}/heartbeat", {"progress": progress, "note": note})

    def deliver(self, task: str, data: bytes, *, media_type: str) -> TaskView:
        """Hand in the result of an assignment."""
        with self._answer("PUT", f"{_task(task)}/result", data, media_type=media_type) as reply:
            return _decoded(msgspec.json.Decoder(TaskView), reply.rest())

    def page(self, path: str) -> str:
        """Return a page of text, ``/readyz`` or ``/metrics`` say."""
        with self._answer("GET", path) as reply:
            return reply.rest().decode()

    def _ask(self, method: str, path: str, cls: type[T], body: object = None) -> T:
        with self._answer(method, path, body) as reply:
            return _decoded(msgspec.json.Decoder(cls), reply.rest())

    def _tell(self, method: str, path: str, body: object = None) -> None:
        with self._answer(method, path, body) as reply:
            reply.rest()

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        media_type: str = "application/json",
        timeout_s: float | None = _USUAL,
    ) -> Generator["_Reply"]:
        """Yield the answer to one request; ``_USUAL`` is the client's own timeout, None is none."""
        limit_s = self._timeout_s if timeout_s == _USUAL else timeout_s
        raw = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        if raw is not None and len(raw) > limits.API_BODY_BYTES_MAX:
            raise TooLarge(f"{len(raw)} bytes are too many, {limits.API_BODY_BYTES_MAX} at most")
        headers = {"Host": _HOST, "Connection": "close"}
        if raw is not None:
            headers["Content-Type"] = media_type
        connection = _UnixConnection(self._home / api_socket.NAME, _Deadline(limit_s))
        try:
            with _translated(self._home):
                connection.connect()
                with suppress(BrokenPipeError):  # a refusal may be there already, to be read
                    connection.request(method, path, raw, headers)
                response = connection.getresponse()
            with closing(response):
                reply = _Reply(response, connection, self._home)
                if not _HTTP_OK <= reply.status < _HTTP_OK_END:
                    raise api_errors.decode(reply.rest(), reply.status)
                yield reply
        finally:
            connection.close()


class _Deadline:
    """When something has to be over; never, if ``limit_s`` is None."""

    def __init__(self, limit_s: float | None) -> None:
        self._at = None if limit_s is None else time.monotonic() + limit_s

    def left_s(self) -> float | None:
        """Return the time that is left, None if there is no end; none left is a TimeoutError."""
        if self._at is None:
            return None
        left_s = self._at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class _UnixConnection(HTTPConnection):
    """An HTTP connection to the Unix socket at ``path``."""

    def __init__(self, path: Path, deadline: _Deadline) -> None:
        super().__init__(_HOST)
        self._path = path
        self._deadline = deadline
        # Under a name of its own: HTTPConnection drops its socket when the answer begins.
        self._kept = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def connect(self) -> None:
        """Open it."""
        api_socket.check_length(self._path)
        self.sock = self._kept
        self.tighten()
        self.sock.connect(str(self._path))

    def tighten(self) -> None:
        """Let the next wait take no longer than is left."""
        self._kept.settimeout(self._deadline.left_s())

    def close(self) -> None:
        """Close it."""
        super().close()
        self._kept.close()


class _Reply:
    """An answer whose body is still to be read."""

    def __init__(self, response: HTTPResponse, connection: _UnixConnection, home: Path) -> None:
        self.status = response.status
        self._response = response
        self._connection = connection
        self._home = home

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size`` of them; none at the end."""
        with _translated(self._home):
            self._connection.tighten()
            return self._response.read1(size)

    def line(self) -> bytes:
        """Return the next line; none at the end."""
        with _translated(self._home):
            self._connection.tighten()
            return self._response.readline(_LINE_BYTES_MAX)

    def rest(self) -> bytes:
        """Return everything that is left."""
        return b"".join(iter(lambda: self.read(_CHUNK_BYTES), b""))


@contextmanager
def _translated(home: Path) -> Generator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TimedOut(f"the node in {home} did not answer in time") from error
    except PermissionError as error:
        raise ConfigError(f"the node in {home} belongs to somebody else") from error
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise NotRunning(f"no node is running in {home}; start one: bazaar up") from error
    except (HTTPException, OSError) as error:
        raise NotRunning(f"the node in {home} ended while it was asked") from error


def _agent(agent: str) -> str:
    return f"/v1/agents/{quote(agent, safe='')}"


def _task(task: str) -> str:
    return f"/v1/tasks/{quote(task, safe='')}"


def _decoded(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LocalError(f"the node answered what is not understood: {error}") from error
