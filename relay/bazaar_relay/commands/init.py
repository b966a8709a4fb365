"""``bazaar relay init``: make the folder of a relay, with a file of settings to edit."""

from pathlib import Path

from bazaar_protocol.errors import ConfigError
from bazaar_relay import settings
from bazaar_relay.commands.common import NO_OPTIONS, Common, emit, say
from bazaar_relay.homes import Home
from bazaar_relay.settings import FileSettings

_LIST = "# One identity on each line: a did:key or a peer id. {}\n"


def init(*, common: Common = NO_OPTIONS) -> int:
    """Make the relay's folder, its keys, and bazaar.toml with every setting explained.

    What is there already stays as it is.
    """
    # Imported here, since keys take a while to load and a settings file needs none.
    from bazaar_host.settings import render_toml
    from bazaar_relay import homes

    home = Home(common.folder)
    has_key = home.keys.key_path.exists()
    if not has_key:
        homes.open_keys(home, lambda: b"")  # they are made without a passphrase
    texts = {
        home.settings_path: render_toml(FileSettings, settings.SECTION),
        home.blocked_path: _LIST.format("They are not served."),
        home.allowed_path: _LIST.format("They are known from the start."),
    }
    made = [path for path, text in texts.items() if _make(path, text)]
    made += [] if has_key else [home.keys.key_path, home.keys.recovery_key_path]
    if common.json:
        emit({"home": str(home.folder), "made": list(map(str, made))})
        return 0
    for path in made:
        say(f"made {path}")
    if not has_key:
        say(f"Move {home.keys.recovery_key_path} offline: it ends this relay if its key is stolen.")
    say(f"Next: bazaar relay check-config --home {home.folder}")
    return 0


def _make(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    return True
