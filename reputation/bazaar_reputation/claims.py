"""What is behind a capability that an agent claims, for the version and fingerprint it names.

``claimed``: nobody who weighs anything has had such work from it. ``probed``: somebody has, and it
was good. ``proven``: so often and so well that one may rely on it. A claim alone adds nothing, and
neither does work under another version or fingerprint.
"""

from typing import Final, Literal, TypeAlias

from bazaar_protocol.identity import AgentId
from bazaar_reputation.scores import Scorer
from bazaar_reputation.testimony import Question

Status: TypeAlias = Literal["claimed", "probed", "proven"]

PROBED_LEAST: Final = 0.5
"""Good jobs, weighted: one of ego's own, for as long as it has not faded to half."""

PROVEN_LEAST: Final = 5.0
PROVEN_LOWER: Final = 0.6


def status(
    scorer: Scorer,
    subject: AgentId,
    capability: str,
    *,
    version: int = 0,
    fingerprint: bytes = b"",
) -> Status:
    """Return how far ``scorer`` has seen what ``subject`` claims."""
    question = Question("worker", capability, version, fingerprint, is_exact=True)
    good, _ = scorer.evidence(subject, question)
    score = scorer.score(subject, "worker", capability, version=version, fingerprint=fingerprint)
    if score.is_convicted or good < PROBED_LEAST:
        return "claimed"
    if good >= PROVEN_LEAST and score.lower >= PROVEN_LOWER:
        return "proven"
    return "probed"
