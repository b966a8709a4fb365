"""What a node knows of others, for the rest of the node: histories, evidence, and scores of it.

Everything is gathered in the background, from what our own trades brought and from what relays
have; nothing here is ever on the way of a trade.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bazaar_host.logs import logger
from bazaar_node.market.opinions import About, Standing
from bazaar_node.network.relay_client import RelayClient
from bazaar_node.network.relays import RelayOffice
from bazaar_node.storage.store import NodeStore
from bazaar_node.trust import exchange, feeding, flaw_rows, forgetting, rebuilding, tallying
from bazaar_node.trust.authors import read_known
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.exchange import Imported
from bazaar_node.trust.histories import Circle, Flaw, Known
from bazaar_node.trust.receipts import Receipts
from bazaar_node.trust.syncing import Syncer
from bazaar_node.trust.telling import tell_relays
from bazaar_protocol.errors import RemoteError, StorageError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_reputation.book import Book
from bazaar_reputation.findings import Finding
from bazaar_reputation.scores import Scorer

FOLLOW_S: Final = 0.3
"""How far the evidence is behind the trades: what comes in this time is one transaction."""
ROUND_S: Final = 5.0
RECEIPTS_EVERY_S: Final = 60.0
RETRY_S: Final = 5.0
_POINTS: Final = 10_000

log = logger(__name__)
