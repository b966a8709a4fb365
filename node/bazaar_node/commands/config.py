"""``bazaar config``: what is set, and where."""

import dataclasses
from typing import Any

import msgspec
from cyclopts import App

from bazaar_host.settings import DEFAULT, Loaded, Seconds
from bazaar_node import outcomes, policy_settings, settings
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common

app = App(
    name="config",
    help="Show settings, and where each comes from.",
    help_epilogue="Example: bazaar config show",
)


@app.command(help_epilogue="Example: bazaar config show --json")
def show(*, common: Common = NO_OPTIONS) -> int:
    """Show every setting of the node, and whether a file, the environment or nobody said it."""
    found = [
        *_shown(settings.load(common.folder, flags={})),
        *_shown(policy_settings.load(common.folder), f"{policy_settings.SECTION}."),
    ]
    if common.json:
        output.emit({"home": str(common.folder), "settings": found})
        return outcomes.OK
    rows = [
        (str(one["name"]), msgspec.json.encode(one["value"]).decode(), str(one["source"]))
        for one in found
    ]
    output.table(("setting", "value", "from"), rows)
    if all(one["source"] == DEFAULT for one in found):
        output.suggest("bazaar init")
    return outcomes.OK


def _shown(loaded: Loaded[Any], prefix: str = "") -> list[dict[str, object]]:
    return [
        {
            "name": prefix + field.name,
            "value": msgspec.to_builtins(getattr(loaded.values, field.name), enc_hook=_duration),
            "source": loaded.sources[field.name],
        }
        for field in dataclasses.fields(loaded.values)
    ]


def _duration(value: object) -> str:
    assert isinstance(value, Seconds), f"a setting cannot be {value!r}"
    return f"{value:g}s"
