"""What a node can be asked about others: scores with their confidence, and the evidence for them.

It belongs to ``service``. Agents are named by their did:key, or by the first characters of one that
the node knows. No number stands alone: what is known so little of that it is a guess says so.
"""

from pathlib import Path
from typing import Literal, Protocol

import msgspec

Standing = Literal["worker", "poster"]
"""In which role an agent is judged."""
Admission = Literal["bare", "stamped", "vouched"]
ClaimStatus = Literal["claimed", "probed", "proven"]


class FlawView(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong with a history."""

    what: Literal["fork", "gap", "cut-tail", "omission"]
    place: int
    """The first entry that is concerned."""
    last: int
    shown_by: str | None
    """Whose link names an entry that is missing, where that is how it came out."""
    note: str


class ConvictionView(msgspec.Struct, frozen=True, kw_only=True):
    """A proof that stands against an agent, for ever."""

    claim: str
    """``equivocation``, or ``omission`` of a relay."""
    place: int
    """The entry of its log that proves it."""
    proof: str
    """Id of the record; ``evidence export`` writes it into a file that anyone can check."""


class ReputationView(msgspec.Struct, frozen=True, kw_only=True):
    """What this node may expect of an agent, and how sure of that it is."""

    agent: str
    role: Standing
    capability: str
    """Empty for all of them together."""
    lower: float
    """Lower confidence bound: what to rely on."""
    mean: float
    """Expected share of good work."""
    good: float
    """Evidence in jobs, weighted by who says so."""
    bad: float
    prior: float
    """What this node expects of strangers of the same admission class."""
    admission: Admission
    is_known: bool
    """False when there is so little evidence that the score is the prior."""
    is_convicted: bool
    conviction: ConvictionView | None
    """None, too, when the proof is against an identity that it carries on for."""
    weight: float
    """How much the word of the agent counts with this node, 0 to 1."""
    flaws: tuple[FlawView, ...]
    entries: int
    """How many entries of its log are held here."""
    head: int
    """The newest of them."""
    heir: str | None
    """Who carries on, when the log was ended by its recovery key."""
    exposure: int
    """The ceilings of tasks of ours that it holds now, together."""
    unjudged: int
    """How many results of ours it has not judged."""


class ReceiptView(msgspec.Struct, frozen=True, kw_only=True):
    """One receipt behind a score."""

    contract: str
    why: str
    """What happened: ``accepted``, ``rejected, disputed``, ``wrong hash`` …"""
    is_good: bool
    adds: float
    """How much of the good or the bad evidence it makes up, in jobs."""
    job: float
    """Its weight before anything else, in jobs."""
    rater: str | None
    """Whose word it is; None for what the agent's own signatures prove."""
    rater_weight: float
    age: int
    """How many rounds the rater's log has gone on since."""
    subject: str
    """Another agent when it is one that the agent vouches for, or carries on for."""
    capability: str
    kind: str
    """Of the record that decided it; it is entry ``seq`` of the log of ``author``."""
    author: str
    seq: int
    record: str


class WhyView(msgspec.Struct, frozen=True, kw_only=True):
    """A score and the receipts that carry it, those that carry most first."""

    reputation: ReputationView
    receipts: tuple[ReceiptView, ...]
    left_out: int
    """How many receipts that count are not shown."""
    weightless: int
    """How many receipts about the agent add nothing here: their raters weigh nothing, or they
    have faded."""


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """A file of evidence that was written."""

    path: str
    records: int


class RefusalView(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a file that was not taken."""

    number: int
    reason: str


class ImportView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file of evidence."""

    read: int
    new: int
    refused: int
    refusals: tuple[RefusalView, ...]
    """The first of those."""


class RebuildView(msgspec.Struct, frozen=True, kw_only=True):
    """What deriving everything anew from the records has changed; it should be nothing."""

    records: int
    differences: tuple[str, ...]
    came_meanwhile: int
    """How many records came while it went on: differences may be theirs."""


class Reputations(Protocol):
    """What is known of others. Every method may raise a ``LocalError``."""

    async def reputation(
        self, agent: str, *, role: Standing = "worker", capability: str = ""
    ) -> ReputationView:
        """Return what may be expected of an agent."""
        ...

    async def why(
        self, agent: str, *, role: Standing = "worker", capability: str = "", limit: int = 50
    ) -> WhyView:
        """Return what carries that score."""
        ...

    async def export_to(self, path: Path, agent: str = "") -> FileView:
        """Write all evidence, or what there is about one agent, to a new file."""
        ...

    async def import_from(self, path: Path) -> ImportView:
        """Take over a file of evidence, each record checked."""
        ...

    async def rebuild(self) -> RebuildView:
        """Derive everything anew from the records, and say what that changes."""
        ...
