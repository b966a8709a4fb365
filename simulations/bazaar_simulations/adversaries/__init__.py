"""Adversaries: what those do who want something else than the work done."""

from importlib.util import find_spec

from bazaar_protocol.errors import ConfigError

if find_spec("numpy") is None:
    raise ConfigError("the market of many needs numpy: pip install 'bazaar[simulations]'")
