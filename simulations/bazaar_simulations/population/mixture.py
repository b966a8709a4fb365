"""Several adversaries in one run, each with a share of all principals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.adversaries.adversary import Adversary
from bazaar_simulations.adversaries.mixture import Mixture
from bazaar_simulations.adversaries.registry import adversary
from bazaar_simulations.population.setting import Setting

MALICIOUS_MOST: Final = 0.9
"""There have to be some honest ones whose tasks can be counted."""


def mixture(parts: Sequence[tuple[str | Adversary, float]]) -> Mixture:
    """Return adversaries, by name or one's own, that attack together.

    Args:
        parts: Each with its share; only the ratios of these matter here.

    Raises:
        ConfigError: No adversary has such a name, there is no part, or a share is not above 0.

    """
    found = [adversary(one) if isinstance(one, str) else one for one, _ in parts]
    return Mixture([(one, share) for one, (_, share) in zip(found, parts, strict=True)])


def mixed(parts: Sequence[tuple[str, float]], setting: Setting | None = None) -> Setting:
    """Return the setting of a run in which adversaries attack together.

    Args:
        parts: Their names, and which share of all principals each has.
        setting: All else.

    Raises:
        ConfigError: No adversary has such a name, there is no part, a share is not above 0, or
            there are too few honest principals.

    """
    whole = sum(share for _, share in parts)
    label = " + ".join(f"{name} {share:.0%}" for name, share in parts)
    mixture(parts)
    if whole > MALICIOUS_MOST:
        raise ConfigError(f"at most {MALICIOUS_MOST:.0%} are malicious, not {whole:.0%}")
    return replace(setting or Setting(), attack=label, share=whole, mix=tuple(parts))


def attacker_of(setting: Setting) -> Adversary:
    """Return who attacks.

    Raises:
        ConfigError: No adversary has a name that the setting says.

    """
    return mixture(setting.mix) if setting.mix else adversary(setting.attack)
