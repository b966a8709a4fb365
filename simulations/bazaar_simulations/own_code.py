"""Classes that users write, named by file and class: ``./my_adversary.py:MyAdversary``."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TypeVar

from bazaar_protocol.errors import ConfigError

T = TypeVar("T")

_SEPARATOR = ".py:"


def is_own(name: str) -> bool:
    """Tell whether a name says a file and a class in it."""
    return _SEPARATOR in name


def load(name: str, kind: type[T]) -> type[T]:
    """Return the class that ``name`` says. Its file is executed, as a script would be.

    Args:
        name: ``FILE.py:Class``.
        kind: What it has to be a subclass of.

    Raises:
        ConfigError: There is no such file or class, or it is of another kind.

    """
    place, _, wanted = name.rpartition(":")
    path = Path(place).resolve()
    if not path.is_file():
        raise ConfigError(f"there is no file {place}")
    module = f"_own_{path.stem}"
    spec = spec_from_file_location(module, path)
    assert spec is not None
    assert spec.loader is not None
    code = module_from_spec(spec)
    sys.modules[module] = code  # dataclasses look for their module there
    spec.loader.exec_module(code)
    found = getattr(code, wanted, None)
    if found is None:
        raise ConfigError(f"there is no {wanted!r} in {place}")
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ConfigError(f"{wanted} in {place} is no subclass of {kind.__name__}")
    return found
