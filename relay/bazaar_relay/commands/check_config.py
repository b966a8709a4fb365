"""``bazaar relay check-config``: find mistakes in the settings before a start does."""

import dataclasses

from bazaar_relay import settings
from bazaar_relay.commands.common import NO_OPTIONS, Common, emit, say


def check_config(*, common: Common = NO_OPTIONS) -> int:
    """Check the settings, and show each with the place that it comes from."""
    loaded = settings.load(common.folder, flags={})
    found = [
        {
            "name": field.name,
            "value": getattr(loaded.values, field.name),
            "source": loaded.sources[field.name],
        }
        for field in dataclasses.fields(loaded.values)
    ]
    if common.json:
        emit({"home": str(common.folder), "settings": found})
        return 0
    for one in found:
        print(f"{one['name']}\t{one['value']!r}\t{one['source']}")
    say("The settings are good.")
    return 0
