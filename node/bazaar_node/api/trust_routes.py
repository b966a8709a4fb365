"""The paths of the API about others: scores, what is behind them, and files of evidence."""

from pathlib import Path
from typing import Final, cast, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bazaar_node.api.api_guard import Bodies
from bazaar_node.api.api_requests import json_response, limit_of, parsed
from bazaar_node.trust_service import Reputations, Standing
from bazaar_protocol.errors import ConfigError

_RECEIPTS: Final = 50


class ExportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a request to write a file of evidence."""

    path: str
    agent: str = ""


class ImportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a request to read one."""

    path: str


_EXPORT: Final = msgspec.json.Decoder(ExportRequest)
_IMPORT: Final = msgspec.json.Decoder(ImportRequest)


class TrustRoutes:
    """What a node is asked about others."""

    def __init__(self, reputations: Reputations, bodies: Bodies) -> None:
        self._reputations = reputations
        self._bodies = bodies

    def table(self) -> list[Route]:
        """Return every path with what it does."""
        agent = "/v1/agents/{agent}"
        return [
            Route(f"{agent}/reputation", self._reputation, methods=["GET"]),
            Route(f"{agent}/why", self._why, methods=["GET"]),
            Route("/v1/evidence/export", self._export, methods=["POST"]),
            Route("/v1/evidence/import", self._import, methods=["POST"]),
            Route("/v1/evidence/rebuild", self._rebuild, methods=["POST"]),
        ]

    async def _reputation(self, request: Request) -> Response:
        view = await self._reputations.reputation(
            request.path_params["agent"],
            role=_standing(request),
            capability=request.query_params.get("capability", ""),
        )
        return json_response(view)

    async def _why(self, request: Request) -> Response:
        view = await self._reputations.why(
            request.path_params["agent"],
            role=_standing(request),
            capability=request.query_params.get("capability", ""),
            limit=limit_of(request, _RECEIPTS),
        )
        return json_response(view)

    async def _export(self, request: Request) -> Response:
        wanted = await parsed(request, self._bodies, _EXPORT)
        view = await self._reputations.export_to(Path(wanted.path), wanted.agent)
        return json_response(view, 201)

    async def _import(self, request: Request) -> Response:
        wanted = await parsed(request, self._bodies, _IMPORT)
        return json_response(await self._reputations.import_from(Path(wanted.path)))

    async def _rebuild(self, _request: Request) -> Response:
        return json_response(await self._reputations.rebuild())


def _standing(request: Request) -> Standing:
    text = request.query_params.get("role", "worker")
    if text not in get_args(Standing):
        raise ConfigError(f"no such role: {text[:40]!r}; there are poster and worker")
    return cast("Standing", text)
