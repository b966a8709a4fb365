"""Names as people type them: in any case, with hyphens for spaces, and sometimes wrong."""

import difflib
from collections.abc import Iterable

from bazaar_protocol.errors import ConfigError


def find(name: str, known: Iterable[str], what: str) -> str:
    """Return which of ``known`` is meant.

    Args:
        name: As somebody has typed it.
        known: What there is.
        what: What it is to be, for the complaint: "an adversary".

    Raises:
        ConfigError: None of them; it says which may have been meant.

    """
    by_plain = {_plain(one): one for one in known}
    found = by_plain.get(_plain(name))
    if found is not None:
        return found
    near = difflib.get_close_matches(_plain(name), by_plain, 3, 0.6)
    hint = " or ".join(by_plain[one] for one in near)
    rest = f"did you mean {hint}?" if near else f"there are {', '.join(by_plain.values())}"
    raise ConfigError(f"{name!r} is not {what}; {rest}")


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("-", " ").replace("_", " ").replace("+", " ").split())
