"""What a node in memory holds of others: whatever its test has told it."""

import asyncio
from pathlib import Path

import msgspec

from bazaar_node.trust_service import (
    ConvictionView,
    FileView,
    FlawView,
    ImportView,
    RebuildView,
    ReceiptView,
    RefusalView,
    ReputationView,
    Standing,
    WhyView,
)
from bazaar_protocol.errors import ConfigError, NotFound, StorageError

BO = "did:key:z6MkboBoBoBoBoBoBoBoBoBoBoBoBoBoBoBoBoBoBoBoBoBo"
MAL = "did:key:z6MkmalMalMalMalMalMalMalMalMalMalMalMalMalMalMa"
FORK = FlawView(what="fork", place=9, last=9, shown_by=None, note="two entries 9")
PROOF = ConvictionView(claim="equivocation", place=9, proof="ab" * 32)
LINE = b"evidence\n"


class MemoryReputations:
    """Knows bo, who has done good work, and mal, who is convicted."""

    def __init__(self) -> None:
        bo = ReputationView(
            agent=BO, role="worker", capability="", lower=0.62, mean=0.8, good=3.0, bad=0.25,
            prior=0.5, admission="bare", is_known=True, is_convicted=False, conviction=None,
            weight=1.0, flaws=(), entries=12, head=12, heir=None, exposure=40, unjudged=1,
        )  # fmt: skip
        self.known = {
            BO: bo,
            MAL: msgspec.structs.replace(
                bo, agent=MAL, lower=0.0, mean=0.0, is_convicted=True, conviction=PROOF,
                flaws=(FORK,), exposure=0, unjudged=0,
            ),
        }  # fmt: skip
        self.receipts = [receipt(n) for n in range(3)]
        self.differences: tuple[str, ...] = ()
        self.came_meanwhile = 0

    async def reputation(
        self, agent: str, *, role: Standing = "worker", capability: str = ""
    ) -> ReputationView:
        found = [view for did, view in self.known.items() if agent in did]
        if len(found) != 1:
            raise NotFound(f"no agent known here is called {agent!r}")
        return msgspec.structs.replace(found[0], role=role, capability=capability)

    async def why(
        self, agent: str, *, role: Standing = "worker", capability: str = "", limit: int = 50
    ) -> WhyView:
        reputation = await self.reputation(agent, role=role, capability=capability)
        receipts = () if reputation.is_convicted else tuple(self.receipts)
        return WhyView(
            reputation=reputation,
            receipts=receipts[:limit],
            left_out=max(len(receipts) - limit, 0),
            weightless=40,
        )

    async def export_to(self, path: Path, agent: str = "") -> FileView:
        if not path.is_absolute():
            raise ConfigError("not absolute")
        await asyncio.to_thread(_write, path, LINE * (1 if agent else 2))
        return FileView(path=str(path), records=1 if agent else 2)

    async def import_from(self, path: Path) -> ImportView:
        lines = (await asyncio.to_thread(path.read_bytes)).splitlines(keepends=True)
        bad = [number for number, line in enumerate(lines, start=1) if line != LINE]
        refusals = [RefusalView(number=number, reason="forged\x1b[2J") for number in bad]
        return ImportView(
            read=len(lines), new=len(lines) - len(bad), refused=len(bad), refusals=tuple(refusals)
        )

    async def rebuild(self) -> RebuildView:
        return RebuildView(
            records=7, differences=self.differences, came_meanwhile=self.came_meanwhile
        )


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise StorageError(f"{path} is there already") from error


def receipt(number: int) -> ReceiptView:
    """Return the receipt of a job; the last one failed."""
    is_good = number < 2
    return ReceiptView(
        contract=f"{number:02x}" * 32, why="accepted" if is_good else "wrong hash",
        is_good=is_good, adds=0.98 - number / 10, job=1.0, rater=MAL if is_good else None,
        rater_weight=0.5, age=number, subject=BO, capability="text.count", kind="verdict",
        author=MAL, seq=number + 5, record="cd" * 32,
    )  # fmt: skip
