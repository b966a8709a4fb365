"""What the relay's commands share: where the relay is, and how to answer."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from cyclopts import Parameter

if TYPE_CHECKING:
    from bazaar_host.key_files import Passphrase


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """The options of every command."""

    home: Annotated[
        Path | None,
        Parameter(
            env_var="BAZAAR_RELAY_HOME", help="Folder of the relay; by default one of the user's."
        ),
    ] = None
    json: Annotated[bool, Parameter(help="Answer with JSON on standard output.")] = False
    debug: Annotated[bool, Parameter(help="Show where an error came from (or BAZAAR_DEBUG=1).")] = (
        False
    )

    @property
    def folder(self) -> Path:
        """The folder of the relay."""
        if self.home is not None:
            return self.home.expanduser().absolute()
        # Imported here, since it costs time and who names a home does without.
        import platformdirs

        return platformdirs.user_data_path("bazaar") / "relay"


PassphraseFile: TypeAlias = Annotated[
    Path | None,
    Parameter(help="File with the key's passphrase, readable by you alone; else it is asked for."),
]


def passphrase_of(file: Path | None) -> "Passphrase":
    """Return where the passphrase of a locked key comes from."""
    # Imported here, since most commands need no key.
    from bazaar_host import key_files

    return key_files.from_terminal() if file is None else key_files.from_file(file)


NO_OPTIONS: Final = Common()
"""The default of a command's ``common``: nothing was said."""


def emit(value: object) -> None:
    """Write ``value`` as one line of JSON."""
    print(json.dumps(value), flush=True)


def say(text: str) -> None:
    """Write one line of talk."""
    print(text, file=sys.stderr, flush=True)
