"""The table ``[policy]`` of ``bazaar.toml``: whom the node deals with."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from bazaar_host import settings as host_settings
from bazaar_host.settings import Loaded, setting
from bazaar_node.market import policy
from bazaar_node.market.policy import Policies, Policy
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId, parse_agent

SECTION: Final = "policy"

_POINTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What an owner can say about others without writing Python."""

    min_score: Annotated[float, Meta(ge=0, le=1)] = setting(
        policy.MIN_SCORE / _POINTS,
        "Award tasks to workers with this score or more, as soon as the node has ten receipts of "
        "its own to judge by.",
    )
    min_poster_score: Annotated[float, Meta(ge=0, le=1)] = setting(
        policy.MIN_POSTER_SCORE / _POINTS,
        "Decline the tasks of posters that are known and have a lower score.",
    )
    allow: list[str] = setting(
        [],
        "Deal with these agents (did:key:...) and nobody else, whatever their scores; empty means "
        "with anybody.",
    )
    deny: list[str] = setting([], "Never deal with these agents.")
    seeds: list[str] = setting(
        [],
        "Agents whose word on others counts from the start; everybody else's has to be earned by "
        "work for this node, or for those that it trusts.",
    )
    max_exposure: Annotated[int, Meta(ge=0, le=limits.INTEGER_MAX)] = setting(
        0, "How much one worker may hold of our tasks at once, by their ceilings; 0 is no limit."
    )
    max_unjudged: Annotated[int, Meta(ge=1, le=limits.TASKS_WORKED_MAX)] = setting(
        policy.MAX_UNJUDGED,
        "How many of our results a poster may leave without a verdict before we decline its tasks.",
    )

    max_on_credit: Annotated[int, Meta(ge=1, le=limits.TASKS_WORKED_MAX)] = setting(
        policy.MAX_ON_CREDIT,
        "How many of our results all posters together may hold that have never accepted one, "
        "beside one for every twenty that were accepted.",
    )

    def seed_agents(self) -> frozenset[AgentId]:
        """Return whose word counts from the start.

        Raises:
            ConfigError: One of the agents is none.

        """
        return _agents("seeds", self.seeds)

    def policies(self) -> Policies:
        """Return them as the market applies them.

        Raises:
            ConfigError: One of the agents is none.

        """
        named: list[Policy] = [policy.NotConvicted()]
        if self.deny:
            named.append(policy.Deny(_agents("deny", self.deny)))
        if self.allow:
            named.append(policy.Allow(_agents("allow", self.allow)))
        workers: list[Policy] = [*named]
        posters: list[Policy] = [*named, policy.MaxUnjudged(self.max_unjudged)]
        if not self.allow:  # who is named needs no score
            workers.append(policy.MinScore(round(self.min_score * _POINTS)))
            posters.append(policy.MinPosterScore(round(self.min_poster_score * _POINTS)))
            posters.append(policy.MaxOnCredit(self.max_on_credit))
        if self.max_exposure:
            workers.append(policy.MaxExposure(self.max_exposure))
        return Policies(policy.All(*workers), policy.All(*posters))


def load(home: Path, *, environ: Mapping[str, str] = os.environ) -> Loaded[PolicySettings]:
    """Gather the policy of the node in ``home``, and where each part comes from.

    Raises:
        ConfigError: Some of it is unknown or wrong.

    """
    loaded = host_settings.load(
        PolicySettings,
        section=SECTION,
        flags={},
        environ=environ,
        files=host_settings.files(home),
    )
    loaded.values.policies()
    loaded.values.seed_agents()
    return loaded


def _agents(name: str, texts: list[str]) -> frozenset[AgentId]:
    try:
        return frozenset(parse_agent(text) for text in texts)
    except ConfigError as error:
        raise ConfigError(f"[{SECTION}] {name}: {error}") from error
