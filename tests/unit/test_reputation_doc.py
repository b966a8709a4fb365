"""docs/reputation.md says what the code does: each weight, each constant, each worked example."""

import re
from functools import cache
from pathlib import Path

import pytest
from tests.evidence_records import sign
from tests.rated_town import Row, Town, early
from tests.reputation_books import book_of_deals
from tests.reputation_records import Deal, Outcome, Party, deal
from tests.unit.test_reputation_attacks import Town as Neighbourhood, parties, pumped, unsolicited

from bazaar_node.market import credit, invitations, policy
from bazaar_protocol.errors import Equivocation
from bazaar_protocol.evidence_kinds import Intake
from bazaar_protocol.limits import DAY_MS, VOUCHES_COUNTED_MAX
from bazaar_protocol.log import detect_fork
from bazaar_reputation import claims, credibility, judgement, scores, strands, testimony, walk
from bazaar_reputation.scores import Score, Scorer

DOC = Path(__file__).parents[2] / "docs" / "reputation.md"
HASHED = Deal(is_hashed=True)
RESULT = bytes(32)


@cache
def text() -> str:
    return DOC.read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the table whose first heading that is."""
    found = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text(), re.MULTILINE)
    assert found, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def said(heading: str) -> set[tuple[str, int]]:
    """Return what the page says of each finding: why, and its signed weight in thousandths."""
    rows = set[tuple[str, int]]()
    for _, why, weight, good_or_bad in table(heading):
        if not why:
            assert (weight, good_or_bad) == ("0", "neither")
            continue
        number = re.match(r"(?:\+ )?([\d.]+)", weight)
        assert number, weight
        sign_of = {"good": 1, "bad": -1}[good_or_bad]
        rows.add((why.strip('"'), sign_of * round(1000 * float(number[1]))))
    return rows


def found(role: str) -> set[tuple[str, int]]:
    """Return what the code says of every kind of contract there is."""
    rows = list[Row]()
    for outcome in ("accepted", "rejected", "disputed", "delivered", "withdrawn"):
        rows += Town().deal(outcome)
    rows += Town().deal("rejected", heads=early)
    rows += Town().deal("revealed", Deal(has_canary=True, result=RESULT))
    rows += Town().deal("rejected", HASHED)
    rows += Town().deal("accepted", Deal(is_hashed=True, result=RESULT))
    town = Town()
    rows += town.deal("silent", Deal(sequencer=town.sequencer, relays=town.relays))
    return {(why, weight) for of_role, _, weight, why in rows if of_role == role}


@pytest.mark.parametrize("role", ["worker", "poster"])
def test_each_finding_weighs_what_the_page_says(role: str) -> None:
    assert said(f"finding about the {role}") == found(role)


def test_the_constants_are_those_of_the_code() -> None:
    bound = testimony.SATURATION * scores.FULL_WEIGHT
    for statement in (
        f"goes on {judgement.PATIENCE_ENTRIES} entries",
        f"keep {strands.GOOD_KEPT:.2f} of their weight".replace("0.", "."),
        f"ones {strands.BAD_KEPT:.2f}, and after {2 * strands.BLOCK_ROUNDS - 1:,} rounds".replace(
            "0.", "."
        ),
        f"+ {credibility.SEED_EDGE} from you to each seed",
        f"0 below {credibility.CREDIBILITY_LEAST}".replace("0.", "."),
        f"restart {walk.RESTART}".replace("0.", "."),
        f"min(1, {scores.FULL_WEIGHT:.0f}·π(r))",
        f"P/(1 + P/{testimony.SATURATION:.0f})",
        f"{bound:.0f}·p_in",
        f"{claims.PROVEN_LEAST:.0f} good jobs",
        f"a lower bound of {claims.PROVEN_LOWER}".replace("0.", "."),
    ):
        assert statement in text(), statement
    assert walk.EPSILON == 1e-4
    assert VOUCHES_COUNTED_MAX == 3
    assert judgement.SILENCES_MAX == 2
    assert scores.POSTER_KNOWN_LEAST == 0.25
    assert (invitations.INVITED_MAX, invitations.TOP, policy.MIN_POSTER_SCORE) == (5, 12, 3_000)
    assert (policy.MAX_ON_CREDIT, credit.SHARE, credit.FORGOTTEN_MS) == (4, 20, 7 * DAY_MS)
    assert claims.PROBED_LEAST == scores.KNOWN_LEAST == testimony.OTHER_VERSION == 0.5


def of_mine(*outcomes: Outcome, forks: bool = False) -> tuple[Score, Score]:
    """Return what I make of an agent after such jobs for me, and of a newcomer then."""
    me, other = Party("me"), Party("other")
    dealt = [deal(me, other, outcome) for outcome in outcomes]
    other.go_on(judgement.PATIENCE_ENTRIES)
    book = book_of_deals(dealt, [me, other], me)
    if forks:
        with pytest.raises(Equivocation):
            detect_fork(other.log[1], sign(other, Intake(bytes(32), 9, 9), 2))
        book.convict(other.agent, 2)
    scorer = Scorer(book, me.agent)
    return scorer.score(other.agent), scorer.score(Party("newcomer").agent)


def failed(victim: str, *, praised: bool) -> Score:
    town = Neighbourhood()
    stranger, sybils = Party("stranger"), parties("sybil", 8)
    said = [deal(getattr(town, victim), stranger, "rejected")]
    if praised:
        said += pumped(stranger, sybils, 40)
    return town.scorer(stranger, *sybils, said=said).score(stranger.agent)


def slandered() -> Score:
    town, slanderer = Neighbourhood(), Party("slanderer")
    said = [unsolicited(slanderer, town.honest, "rejected") for _ in range(20)]
    return town.scorer(slanderer, said=said).score(town.honest.agent)


def betrayed(failures: int, *, forks: bool = False) -> Score:
    good: list[Outcome] = ["accepted"] * 20
    bad: list[Outcome] = ["rejected"] * failures
    return of_mine(*good, *bad, forks=forks)[0]


def examples() -> dict[str, Score]:
    return {
        "a newcomer, and I know nobody": of_mine()[1],
        "one good job for me": of_mine("accepted")[0],
        "three good jobs for me": of_mine("accepted", "accepted", "accepted")[0],
        "a newcomer, after a stranger's three good jobs for me": of_mine(
            "accepted", "accepted", "accepted"
        )[1],
        "three good jobs for my neighbour": Neighbourhood()
        .scorer(said=[])
        .score(Party("honest").agent),
        "the same, and 20 claims about work it never took": slandered(),
        "one failed job for me": failed("ego", praised=False),
        "one failed job for me, and 40 that its Sybils praise": failed("ego", praised=True),
        "one failed job for my neighbour": failed("neighbour", praised=False),
        "one failed job for my neighbour, and 40 that its Sybils praise": failed(
            "neighbour", praised=True
        ),
        "20 good jobs for me": betrayed(0),
        "20 good jobs for me, then 1 failed": betrayed(1),
        "20 good jobs for me, then 3 failed": betrayed(3),
        "20 good jobs for me, then 8 failed": betrayed(8),
        "20 good jobs for me, then a fork": betrayed(0, forks=True),
    }


def test_the_worked_examples_are_what_the_code_computes() -> None:
    computed = [
        [name, *(f"{number:.2f}" for number in (one.good, one.bad, one.mean, one.lower))]
        for name, one in examples().items()
    ]
    assert table("example") == computed
