"""Asking relays who offers what: each answers for itself, and none spoils what others say."""

import asyncio
from collections.abc import Sequence

from bazaar_node import views
from bazaar_node.network.relay_client import RelayClient
from bazaar_node.service import Found
from bazaar_protocol import limits
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.records import unseal


async def search(
    clients: Sequence[RelayClient], *, capability: str, words: str, limit: int
) -> list[Found]:
    """Ask all relays at once and merge what they say, each agent's capability once.

    Raises:
        RemoteError: Not one of them gave an answer.

    """
    asked = (_ask(client, capability, words, min(limit, limits.PAGE_MAX)) for client in clients)
    answers = await asyncio.gather(*asked)
    failed = [answer for answer in answers if isinstance(answer, RemoteError)]
    if failed and len(failed) == len(answers):
        raise failed[0]
    found: dict[tuple[str, str], Found] = {}
    for answer in answers:
        if not isinstance(answer, RemoteError):
            for view in answer:
                found.setdefault((view.agent, view.capability), view)
    return list(found.values())[:limit]


async def _ask(
    client: RelayClient, capability: str, words: str, limit: int
) -> list[Found] | RemoteError:
    try:
        page = await client.session.query(capability, words[: limits.QUERY_CHARS_MAX], limit=limit)
        records = [unseal(raw) for raw in page.records]
    except RemoteError as error:
        return error
    return [view for record in records for view in views.found_views(record, capability, words)]
