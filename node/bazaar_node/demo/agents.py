"""Who takes part in the demo, what they offer, and what they are asked to do."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bazaar_node.service import OfferRequest, PostRequest, Weights

POSTER: Final = "ada"
CAPABILITY: Final = "table.extract"
TITLE: Final = "extract table from report.csv"
REPORT: Final = """\
region,orders,revenue
north,1204,48210.50
east,987,39105.00
south,1533,61877.25
west,760,28940.75
"""
PRICE_MAX: Final = 50
WEIGHTS: Final = Weights(price=5_000, eta=2_000, confidence=3_000)
"""Nobody here knows anybody yet, so the rule weighs what each says of itself."""
BID_WINDOW_MS: Final = 1_000
HEARTBEAT_TIMEOUT_MS: Final = 5_000

_PROGRAMS: Final = Path(__file__).parent / "programs"
_CLOSE_MS: Final = 60_000
_SCHEMA: Final = {
    "type": "object",
    "required": ["columns", "rows"],
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "rows": {"type": "array", "items": {"type": "array"}, "minItems": 1},
    },
}


@dataclass(frozen=True, slots=True)
class Worker:
    """An agent that offers the capability."""

    name: str
    price: int
    confidence: int
    """In basis points, as it says itself."""
    work_s: float
    """How long its program takes."""
    is_careless: bool = False

    def offer(self) -> OfferRequest:
        """Return what it offers."""
        words = ["extract.py", str(self.work_s), *(["--careless"] if self.is_careless else [])]
        return OfferRequest(
            capability=CAPABILITY,
            command=_program(*words),
            description="Turns a report in CSV into rows of JSON",
            price=self.price,
            eta_ms=5_000,
            confidence=self.confidence,
        )


BO: Final = Worker("bo", price=40, confidence=9_300, work_s=6)
CY: Final = Worker("cy", price=35, confidence=9_100, work_s=20)
DEE: Final = Worker("dee", price=45, confidence=9_200, work_s=120)
MAL: Final = Worker("mal", price=30, confidence=4_000, work_s=1, is_careless=True)
WORKERS: Final = (BO, CY, DEE, MAL)


def auction(report: Path) -> PostRequest:
    """Return the task that everybody may bid for; ``report`` is the file that it is about."""
    return PostRequest(
        capability=CAPABILITY,
        title=TITLE,
        input=REPORT.encode(),
        media_type="text/csv",
        price_max=PRICE_MAX,
        weights=WEIGHTS,
        bid_window_ms=BID_WINDOW_MS,
        start_to_close_ms=_CLOSE_MS,
        heartbeat_timeout_ms=HEARTBEAT_TIMEOUT_MS,
        output_schema=json.dumps(_SCHEMA).encode(),
        check_command=_program("check.py", str(report)),
    )


def direct(worker: str, report: Path, *, price: int) -> PostRequest:
    """Return the same task for one worker and nobody else."""
    return PostRequest(
        capability=CAPABILITY,
        title=TITLE,
        input=REPORT.encode(),
        media_type="text/csv",
        worker=worker,
        price=price,
        heartbeat_timeout_ms=HEARTBEAT_TIMEOUT_MS,
        output_schema=json.dumps(_SCHEMA).encode(),
        check_command=_program("check.py", str(report)),
    )


def _program(name: str, *arguments: str) -> str:
    """Write the command line of one of the programs."""
    return shlex.join([sys.executable, str(_PROGRAMS / name), *arguments])
