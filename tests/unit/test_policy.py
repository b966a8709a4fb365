"""Policies: what an owner says of others, in TOML and in Python."""

from pathlib import Path

import pytest

from bazaar_node import policy_settings
from bazaar_node.market.opinions import Standing
from bazaar_node.market.policy import (
    All,
    Allow,
    Any,
    Candidate,
    Deny,
    MaxExposure,
    MaxUnjudged,
    MinPosterScore,
    MinScore,
    NotConvicted,
    Objection,
    Policy,
)
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import Keypair, to_did

BO, CY = Keypair.from_name("bo").agent, Keypair.from_name("cy").agent


def candidate(points: int = 5_000, *, is_known: bool = True, **more: object) -> Candidate:
    given = {"agent": BO, "standing": Standing(points, is_known, bad=1.0)} | more
    return Candidate(**given)  # type: ignore[arg-type]


CONVICT = candidate(standing=Standing(0, is_known=True, is_convicted=True))

RULES: list[tuple[Policy, Candidate, str | None]] = [
    (NotConvicted(), candidate(0), None),
    (NotConvicted(), CONVICT, "distrust"),
    (Allow({BO}), candidate(), None),
    (Allow({CY}), candidate(), "rule"),
    (Deny({CY}), candidate(), None),
    (Deny({BO}), candidate(), "distrust"),
    (MinScore(4_000), candidate(4_000), None),
    (MinScore(4_000), candidate(3_999), "score"),
    (MinScore(4_000), candidate(3_999, is_seasoned=False), None),
    (MinPosterScore(3_000), candidate(3_000), None),
    (MinPosterScore(3_000), candidate(2_999), "distrust"),
    (MinPosterScore(3_000), candidate(0, is_known=False), None),
    (MinPosterScore(3_000), candidate(standing=Standing(0, is_known=True, good=9.0)), None),
    (MinPosterScore(3_000), candidate(standing=Standing(0, is_known=True, bad=0.1)), "distrust"),
    (MaxExposure(100), candidate(amount=60, held=40), None),
    (MaxExposure(100), candidate(amount=61, held=40), "rule"),
    (MaxUnjudged(3), candidate(held=2), None),
    (MaxUnjudged(3), candidate(held=3), "distrust"),
    (All(), candidate(), None),
    (Any(), candidate(), "rule"),
    (All(Allow({BO}), MinScore(4_000)), candidate(), None),
    (All(MinScore(4_000), Deny({BO})), candidate(0), "distrust"),
    (Any(Allow({BO}), MinScore(4_000)), candidate(0), None),
    (Any(Allow({CY}), MinScore(4_000)), candidate(0), "score"),
    (All(NotConvicted(), Any(Allow({BO}), MinScore(1))), CONVICT, "distrust"),
]


@pytest.mark.parametrize(("policy", "who", "kind"), RULES)
def test_each_rule_objects_to_what_it_says(
    policy: Policy, who: Candidate, kind: str | None
) -> None:
    objection = policy.objection(who)
    assert (objection.kind if objection else None) == kind
    assert objection is None or objection.why


def test_a_rule_of_ones_own_goes_beside_the_others() -> None:
    class Cautious:
        def objection(self, candidate: Candidate) -> Objection | None:
            if candidate.amount > 1_000 and not candidate.standing.is_known:
                return Objection("a large task is for an agent we know")
            return None

    policy = All(NotConvicted(), Cautious())
    assert policy.objection(candidate(is_known=False, amount=1_000)) is None
    objection = policy.objection(candidate(is_known=False, amount=1_001))
    assert objection == Objection("a large task is for an agent we know")


def load(folder: Path, text: str, **environ: str) -> policy_settings.PolicySettings:
    (folder / "bazaar.toml").write_text(f"[policy]\n{text}")
    return policy_settings.load(folder, environ=environ).values


def test_the_file_says_whom_to_deal_with(tmp_path: Path) -> None:
    text = f"""
        min_score = 0.6
        min_poster_score = 0.5
        deny = ["{to_did(CY)}"]
        max_exposure = 500
        max_unjudged = 2
        seeds = ["{to_did(BO)}"]
    """
    assert load(tmp_path, text).seed_agents() == {BO}
    policies = load(tmp_path, text).policies()
    assert policies.workers.objection(candidate(6_000, amount=500)) is None
    for bad in (
        candidate(5_999),
        candidate(6_000, agent=CY),
        candidate(6_000, amount=501),
        CONVICT,
    ):
        assert policies.workers.objection(bad) is not None
    assert policies.posters.objection(candidate(5_000, held=1)) is None
    for bad in (candidate(4_999), candidate(6_000, agent=CY), candidate(held=2), CONVICT):
        assert policies.posters.objection(bad) is not None


def test_those_who_are_named_need_no_score_and_nobody_else_is_dealt_with(tmp_path: Path) -> None:
    policies = load(tmp_path, f'allow = ["{to_did(BO)}"]').policies()
    for policy in (policies.workers, policies.posters):
        assert policy.objection(candidate(0)) is None
        assert policy.objection(candidate(9_999, agent=CY)) is not None
        assert policy.objection(CONVICT) is not None


def test_without_a_word_it_is_as_the_default_says(tmp_path: Path) -> None:
    policies = load(tmp_path, "").policies()
    assert policies.workers.objection(candidate(4_000, amount=10**9)) is None
    assert policies.workers.objection(candidate(3_999)) is not None
    assert policies.posters.objection(candidate(2_999)) is not None


@pytest.mark.parametrize(
    "text",
    [
        'allow = ["bo"]',
        'seeds = ["bo"]',
        "min_score = 1.1",
        "max_exposure = -1",
        "max_unjudged = 0",
        "min_scor = 1",
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="policy"):
        load(tmp_path, text)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    values = load(tmp_path, "min_score = 0.6", BAZAAR_POLICY_MIN_SCORE="0.7")
    assert values.min_score == pytest.approx(0.7)
