"""The lines of the demo: the seconds since its start, then what happened."""

import json
import time
from typing import Final, Literal

from rich.console import Console
from rich.text import Text

Mood = Literal["plain", "good", "bad", "quiet"]

_STYLES: Final[dict[Mood, str]] = {"plain": "", "good": "green", "bad": "red", "quiet": "dim"}


class Teller:
    """Writes lines for people (in colour on a terminal, unless ``NO_COLOR`` is set), or JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._began_s = time.monotonic()
        self._console = Console(highlight=False, soft_wrap=True)

    @property
    def elapsed_s(self) -> float:
        """How long ago the demo began."""
        return time.monotonic() - self._began_s

    def tell(self, what: str, text: str, mood: Mood = "plain", **facts: object) -> None:
        """Write what just happened.

        Args:
            what: Its name, for programs.
            text: The line, for people.
            mood: How it is coloured.
            facts: What else programs may want to know.

        """
        if self._as_json:
            line = {"elapsed_s": round(self.elapsed_s, 3), "what": what, **facts, "text": text}
            print(json.dumps(line), flush=True)
            return
        self._write(Text.assemble((f"{self.elapsed_s:5.1f} ", "dim"), (text, _STYLES[mood])))

    def add(self, text: str, mood: Mood = "plain") -> None:
        """Write a line that belongs to the one before; programs have its facts already."""
        if not self._as_json:
            self._write(Text(f"      {text}", _STYLES[mood]))

    def _write(self, line: Text) -> None:
        self._console.print(line)
        self._console.file.flush()
