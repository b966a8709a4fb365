"""What all commands share: where the node is, how to answer, and whom to ask."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from bazaar_node.api.client import TIMEOUT_S, Client


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """The options of every command."""

    home: Annotated[
        Path | None,
        Parameter(env_var="BAZAAR_HOME", help="Folder of the node; by default one of the user's."),
    ] = None
    json: Annotated[bool, Parameter(help="Answer with JSON on standard output.")] = False
    debug: Annotated[bool, Parameter(help="Show where an error came from (or BAZAAR_DEBUG=1).")] = (
        False
    )

    @property
    def folder(self) -> Path:
        """The folder of the node."""
        if self.home is not None:
            return self.home.expanduser().absolute()
        # Imported here, since it costs time and who names a home does without.
        import platformdirs

        return platformdirs.user_data_path("bazaar")

    def client(self, *, timeout_s: float = TIMEOUT_S) -> Client:
        """Return a client of the node."""
        return Client(self.folder, timeout_s=timeout_s)


NO_OPTIONS: Final = Common()
"""The default of a command's ``common``: nothing was said."""
