"""What options say of attacks and sizes, checked before anything runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from cyclopts import Parameter

from bazaar_protocol.errors import ConfigError
from bazaar_simulations import names, own_code
from bazaar_simulations.adversaries.registry import ADVERSARIES
from bazaar_simulations.population.mixture import MALICIOUS_MOST, attacker_of, mixed
from bazaar_simulations.population.setting import PARTS, PROPOSALS, Setting
from bazaar_simulations.population.sweep import is_large
from bazaar_simulations.world.scenarios import SCENARIOS

MARKET: Final = "market"
"""The scenario of a market without an adversary of its own: ``--attack`` says who attacks."""

_OF_MARKETS: Final = frozenset({"--attack", "--share", "--defence", "--without", "--tried"})
_AGENTS: Final = (10, 1_000_000)
_DAYS: Final = (2, 10_000)
_DAY_S: Final = 86_400.0
_NODES: Final = (1, 64)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be run; what is None is as usual."""

    attack: Annotated[
        tuple[str, ...], Parameter(help="NAME:SHARE, one more adversary; may be repeated.")
    ] = ()
    share: Annotated[
        float | None, Parameter(help="Of the principals, how many are the adversary's: 0.4.")
    ] = None
    agents: Annotated[
        int | None, Parameter(help="How many principals, 100 if not said; or nodes of a world.")
    ] = None
    days: Annotated[
        float | None,
        Parameter(help="How long: in a market 100 days of one task each, if not said."),
    ] = None
    seconds: Annotated[float | None, Parameter(help="Of a world, how long it runs.")] = None
    defence: Annotated[
        str, Parameter(help="Whom to trust: ours, none, average, …, or FILE.py:Class.")
    ] = "ours"
    without: Annotated[tuple[str, ...], Parameter(help="Parts of ours to switch off.")] = ()
    tried: Annotated[tuple[str, ...], Parameter(help="Changes to ours to try.")] = ()

    @property
    def options(self) -> Sequence[tuple[str, object]]:
        """What somebody typed to ask for this."""
        return (
            ("--attack", self.attack), ("--share", self.share), ("--agents", self.agents),
            ("--days", self.days), ("--seconds", self.seconds),
            ("--defence", None if self.defence == Asked().defence else self.defence),
            ("--without", self.without), ("--tried", self.tried),
        )  # fmt: skip

    def check_for_world(self) -> None:
        """Look whether only that is asked which a world can do.

        Raises:
            ConfigError: An option is for a market.

        """
        for option, value in self.options:
            if value and option in _OF_MARKETS:
                raise ConfigError(f"{option} is for a market, and not for a world of real nodes")


def is_world(scenario: str) -> bool:
    """Tell whether a scenario is a world of real nodes, and no market.

    Raises:
        ConfigError: Neither is called so; it says what may have been meant.

    """
    if own_code.is_own(scenario):
        return False
    what = "an adversary or a world (`bazaar simulate list`)"
    return names.find(scenario, (*ADVERSARIES, *SCENARIOS, MARKET), what) in SCENARIOS


def setting_of(scenario: str, asked: Asked) -> Setting:
    """Return the setting of a run of the population against ``scenario``.

    Raises:
        ConfigError: A name is unknown, or a number makes no sense.

    """
    if asked.seconds is not None:
        raise ConfigError("--seconds is for a world of real nodes; a market has --days")
    setting = Setting(
        defence=asked.defence,
        off=frozenset(names.find(one, PARTS, "a part of ours") for one in asked.without),
        tried=frozenset(names.find(one, PROPOSALS, "a change to try") for one in asked.tried),
    )
    if asked.agents is not None:
        setting = replace(setting, principals=_within(asked.agents, _AGENTS, "--agents"))
    if asked.days is not None:
        if asked.days != int(asked.days):
            raise ConfigError("--days of a market are whole: everybody gives away one task a day")
        setting = replace(setting, rounds=_within(int(asked.days), _DAYS, "--days"))
    setting = _with_attacks(scenario, asked, setting)
    attacker_of(setting)
    if is_large(setting) and (setting.defence != "ours" or setting.off or setting.tried):
        raise ConfigError("so many agents have our defence only, as it is: take fewer of them")
    return setting


def seconds_of(days: float | None, seconds: float | None) -> float | None:
    """Return how long a world runs, in seconds of virtual time; None for as long as usual.

    Raises:
        ConfigError: Both are given, or it is no time at all.

    """
    if days is not None and seconds is not None:
        raise ConfigError("a world runs for --days or for --seconds, not both")
    wanted = seconds if days is None else days * _DAY_S
    if wanted is not None and not (0 < wanted < math.inf):
        raise ConfigError("a world runs for more than no time")
    return wanted


def nodes_of(agents: int | None) -> int | None:
    """Return how many nodes a world has; None for as many as usual.

    Raises:
        ConfigError: Too few, or too many.

    """
    return None if agents is None else _within(agents, _NODES, "--agents of a world")


def _with_attacks(scenario: str, asked: Asked, setting: Setting) -> Setting:
    parts = [_part(one) for one in asked.attack]
    if own_code.is_own(scenario):
        named = scenario
    else:
        named = names.find(scenario, (*ADVERSARIES, MARKET), "an adversary")
    if named == MARKET:
        if asked.share is not None:
            raise ConfigError(
                "--share is that of the adversary named; here say --attack NAME:SHARE"
            )
        if not parts:
            return replace(setting, attack="independent", share=0.0)
    else:
        share = setting.share if asked.share is None else asked.share
        if not 0.0 <= share <= MALICIOUS_MOST:
            raise ConfigError(f"--share is between 0 and {MALICIOUS_MOST}, not {share:g}")
        if not parts:
            return replace(setting, attack=named, share=share)
        parts.insert(0, (named, share))
    _check_whole(parts)
    return mixed(parts, setting)


def _part(said: str) -> tuple[str, float]:
    name, colon, number = said.rpartition(":")
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not colon or math.isnan(share):
        raise ConfigError(f"--attack is NAME:SHARE, as in ring:0.2, and not {said!r}")
    if not 0.0 < share < 1.0:
        raise ConfigError(f"the share in --attack {said} is above 0 and below 1")
    return (name if own_code.is_own(name) else names.find(name, ADVERSARIES, "an adversary")), share


def _check_whole(parts: Sequence[tuple[str, float]]) -> None:
    whole = sum(share for _, share in parts)
    if whole > MALICIOUS_MOST:
        named = " and ".join(f"{name}:{share:g}" for name, share in parts)
        raise ConfigError(
            f"{named} make {whole:.0%} malicious; at most {MALICIOUS_MOST:.0%} may be, "
            "so that there are some honest ones left to look at"
        )


def _within(number: int, bounds: tuple[int, int], option: str) -> int:
    least, most = bounds
    if not least <= number <= most:
        raise ConfigError(f"{option} is between {least} and {most:,}, not {number:,}")
    return number
