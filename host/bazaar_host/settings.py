"""Settings: where each one comes from, and what is wrong with it.

A flag wins over the environment, that over ``./bazaar.toml``, that over the user's own file, and
that over the default. What may be set is a frozen dataclass whose fields are made by ``setting``;
the node and the relay each have one, and each is one table of the file.
"""

import dataclasses
import difflib
import re
import textwrap
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast, get_type_hints

import msgspec
import platformdirs

from bazaar_protocol.errors import ConfigError

S = TypeVar("S")
V = TypeVar("V")

SECTIONS: Final = ("node", "policy", "relay")
FILE_NAME: Final = "bazaar.toml"
DEFAULT: Final = "default"

_COMMENT_CHARS_MAX: Final = 98
_SECRETS: Final = frozenset({"passphrase", "password", "key", "secret", "seed"})
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


class Seconds(float):
    """A duration; in text a number and its unit: ``500ms``, ``30s``, ``15m``, ``2h``, ``7d``."""

    __slots__ = ()


def setting(default: V, meaning: str) -> V:
    """Declare one field of a settings class; ``meaning`` is the comment above it in the file."""
    metadata = {"meaning": meaning}
    if isinstance(default, list):
        made: Any = dataclasses.field(default_factory=default.copy, metadata=metadata)
    else:
        made = dataclasses.field(default=default, metadata=metadata)
    return cast("V", made)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings, and for each field the place that its value comes from."""

    values: S
    sources: Mapping[str, str]


def files(home: Path) -> list[Path]:
    """Return the files that are looked at, the one that wins first; none of them has to exist."""
    places = (Path(), home, platformdirs.user_config_path("bazaar"))
    return [place / FILE_NAME for place in places]


def load(
    cls: type[S],
    *,
    section: str,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    files: Sequence[Path],
) -> Loaded[S]:
    """Gather the settings ``cls`` from every place; a flag that is ``None`` was not given.

    The environment's names are ``BAZAAR_<SECTION>_<FIELD>``; a list is separated by commas there.

    Raises:
        ConfigError: A setting is unknown, of the wrong type or a secret, or a file is no TOML.

    """
    assert section in SECTIONS
    types: dict[str, Any] = get_type_hints(cls, include_extras=True)
    values: dict[str, object] = {}
    sources = dict.fromkeys(types, DEFAULT)
    for file in reversed(files):
        for name, raw in _table(file, section).items():
            where = f"{file}: [{section}] {name}"
            try:
                _check_name(name, types, where)
                values[name], sources[name] = _convert(raw, types[name], where), str(file)
            except ConfigError as error:
                raise ConfigError(f"{error} ({_about(cls, file, section, name)})") from error
    for variable, name in _variables(environ, section):
        _check_name(name, types, variable)
        values[name] = _convert_text(environ[variable], types[name], variable)
        sources[name] = variable
    for name, raw in flags.items():
        if raw is not None:
            flag = "--" + name.replace("_", "-")
            assert name in types, f"{flag} is a flag without a setting"
            values[name], sources[name] = _convert(raw, types[name], flag), flag
    return Loaded(cls(**values), sources)


def render_toml(cls: type[Any], section: str) -> str:
    """Return the table of ``cls`` as a file to edit: each field explained, each default shown.

    The defaults are comments, so that a later version may have better ones.
    """
    lines = [f"[{section}]"]
    for field in dataclasses.fields(cls):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        value = "" if default is None else _toml(default)
        meaning = textwrap.wrap(field.metadata["meaning"], _COMMENT_CHARS_MAX)
        lines += ["", *(f"# {line}" for line in meaning), f"# {field.name} = {value}".rstrip()]
    return "\n".join([*lines, ""])


def parse_duration(text: str) -> Seconds:
    """Read a duration such as ``500ms``, ``30s``, ``15m``, ``2h`` or ``7d``.

    Raises:
        ConfigError: It has another form.

    """
    parts = _DURATION.fullmatch(text.strip())
    if parts is None:
        raise ConfigError(f"not a duration: {text[:40]!r}; write 500ms, 30s, 15m, 2h or 7d")
    return Seconds(float(parts[1]) * _UNIT_S[parts[2]])


def _table(file: Path, section: str) -> dict[str, object]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error
    for name, value in content.items():
        _check_name(name, SECTIONS, f"{file}: {name}")
        if not isinstance(value, dict):
            raise ConfigError(f"{file}: {name} is a table: write [{name}] and its settings below")
    return cast("dict[str, object]", content.get(section, {}))


def _about(cls: type[Any], file: Path, section: str, name: str) -> str:
    """Return where a setting stands in a file, and what it is about, for those who correct it."""
    table = ""
    place = "somewhere in this file"
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        heading = re.match(r"\s*\[\s*(\w+)\s*\]", line)
        table = heading[1] if heading else table
        if table == section and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
            place = f"line {number}"
            break
    meanings = {field.name: field.metadata["meaning"] for field in dataclasses.fields(cls)}
    return f"{place}; {meanings[name]}" if name in meanings else place


def _variables(environ: Mapping[str, str], section: str) -> Iterable[tuple[str, str]]:
    prefix = f"BAZAAR_{section.upper()}_"
    for variable in sorted(environ):
        if variable.removeprefix("BAZAAR_").lower() in _SECRETS and variable.startswith("BAZAAR_"):
            _check_name(variable.removeprefix("BAZAAR_").lower(), (), variable)
        if variable.startswith(prefix):
            yield variable, variable.removeprefix(prefix).lower()


def _check_name(name: str, known: Collection[str], where: str) -> None:
    if name in known:
        return
    if name.split("_")[-1] in _SECRETS:
        raise ConfigError(
            f"{where}: secrets belong neither in the environment nor in this file; "
            "use a key file, and --passphrase-file or the terminal for its passphrase"
        )
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    raise ConfigError(f"{where}: no such setting; {hint}")


def _convert_text(text: str, to: Any, where: str) -> object:
    if to == list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]
    return _convert(text, to, where, strict=False)


def _convert(raw: object, to: Any, where: str, *, strict: bool = True) -> object:
    try:
        converted: object = msgspec.convert(raw, to, strict=strict, dec_hook=_decode_duration)
    except (msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from error
    return converted


def _decode_duration(to: type, raw: object) -> object:
    assert to is Seconds, f"a setting cannot be a {to}"
    match raw:
        case str():
            return parse_duration(raw)
        case float() | int() if not isinstance(raw, bool):
            return Seconds(raw)
        case _:
            raise ConfigError(f"expected a duration, got {type(raw).__name__}")


def _toml(value: object) -> str:
    match value:
        case Seconds():
            return f'"{_duration_text(value)}"'
        case list():
            return "[" + ", ".join(_toml(item) for item in cast("list[object]", value)) + "]"
        case bool() | int() | float() | str():
            # What JSON writes for these, TOML reads.
            return msgspec.json.encode(value).decode()
        case _:
            raise AssertionError(f"a setting cannot be {value!r}")


def _duration_text(value: Seconds) -> str:
    for unit, seconds in reversed(_UNIT_S.items()):
        if value >= seconds and value % seconds == 0:
            return f"{int(value // seconds)}{unit}"
    return f"{value / _UNIT_S['ms']:g}ms"
