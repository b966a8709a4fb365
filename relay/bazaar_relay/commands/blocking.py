"""``bazaar relay block`` and ``unblock``: send somebody away, or take that back, at once."""

import os
import signal
import time

from bazaar_protocol.errors import ConfigError, NotRunning, TimedOut
from bazaar_protocol.identity import parse_agent, to_did
from bazaar_relay import homes, settings
from bazaar_relay.commands.common import NO_OPTIONS, Common, emit, say
from bazaar_relay.homes import Home
from bazaar_relay.lists import add_to_list, remove_from_list

_RELOAD_S_MAX = 10.0
_LOOK_EVERY_S = 0.02


def block(agent: str, *, common: Common = NO_OPTIONS) -> int:
    """Serve AGENT no longer: its links end, and its records are refused. A restart keeps to it."""
    home, who = Home(common.folder), parse_agent(agent)
    return _say(home, to_did(who), common, has_changed=add_to_list(home.blocked_path, who))


def unblock(agent: str, *, common: Common = NO_OPTIONS) -> int:
    """Serve AGENT again."""
    home, who = Home(common.folder), parse_agent(agent)
    has_changed = remove_from_list(home.blocked_path, who)
    loaded = settings.load(home.folder, flags={})
    if who in loaded.values.policy().blocked:
        raise ConfigError(
            f"{to_did(who)} is blocked by the setting blocked of {loaded.sources['blocked']}: "
            "take it out there, and type: bazaar relay unblock again"
        )
    return _say(home, to_did(who), common, has_changed=has_changed)


def _say(home: Home, did: str, common: Common, *, has_changed: bool) -> int:
    is_running = _reload(home)
    if common.json:
        emit({"agent": did, "has_changed": has_changed, "is_running": is_running})
        return 0
    say(f"{did}: {'done' if has_changed else 'nothing to change'}")
    say("The running relay knows." if is_running else "No relay is running here; it will know.")
    return 0


def _reload(home: Home) -> bool:
    """Have the running relay read its lists again; False if there is none.

    Raises:
        ConfigError: It found a mistake in its settings, and goes on with what it had.
        TimedOut: It does not answer.

    """
    try:
        before = homes.find_running(home)
    except NotRunning:
        return False
    try:
        os.kill(before.pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise ConfigError(f"the relay (process {before.pid}) belongs to another user") from error
    until_s = time.monotonic() + _RELOAD_S_MAX
    while time.monotonic() < until_s:
        try:
            running = homes.find_running(home)
        except NotRunning:
            return False
        if running.reloads > before.reloads:
            if running.trouble:
                raise ConfigError(f"the relay goes on as before: {running.trouble}")
            return True
        time.sleep(_LOOK_EVERY_S)
    raise TimedOut("the relay was told to read its lists again, and has not done so yet")
