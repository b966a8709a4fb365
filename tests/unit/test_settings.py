"""Settings: who wins, who is named, and what is refused."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from bazaar_host.settings import Loaded, Seconds, load, parse_duration, render_toml, setting
from bazaar_protocol.errors import ConfigError


@dataclass(frozen=True)
class Example:
    listen: str = setting("127.0.0.1", "Where we listen.")
    port: Annotated[int, Meta(ge=0, le=65535)] = setting(4001, "The port; 0 means any.")
    public: bool = setting(False, "Whether strangers may come.")
    relays: list[str] = setting([], "The relays we use.")
    patience: Seconds = setting(Seconds(90), "How long we wait.")
    mode: Literal["fast", "slow"] = setting("fast", "How we go about it.")
    key_file: str | None = setting(None, "Where the key is.")


class World:
    def __init__(self, folder: Path) -> None:
        self.near, self.far = folder / "bazaar.toml", folder / "user.toml"

    def load(self, flags: Mapping[str, object] | None = None, **environ: str) -> Loaded[Example]:
        return load(
            Example,
            section="node",
            flags=flags or {},
            environ=environ,
            files=[self.near, self.far],
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_without_anything_the_defaults_hold(world: World) -> None:
    loaded = world.load({"listen": None})
    assert loaded.values == Example()
    assert set(loaded.sources.values()) == {"default"}


def test_each_place_wins_over_the_next_and_is_named(world: World) -> None:
    world.far.write_text('[node]\nlisten="far"\nport=1\nmode="slow"\npatience="2h"\n[relay]\nx=1\n')
    world.near.write_text('[node]\nlisten="near"\nport=2\nmode="fast"\n')
    loaded = world.load({"listen": "flag"}, BAZAAR_NODE_LISTEN="env", BAZAAR_NODE_PORT="3")
    assert loaded.values == Example(listen="flag", port=3, mode="fast", patience=Seconds(7200))
    assert loaded.sources == {
        "listen": "--listen",
        "port": "BAZAAR_NODE_PORT",
        "mode": str(world.near),
        "patience": str(world.far),
        "public": "default",
        "relays": "default",
        "key_file": "default",
    }


def test_the_environment_is_read_as_text(world: World) -> None:
    loaded = world.load(
        BAZAAR_NODE_PUBLIC="true",
        BAZAAR_NODE_RELAYS="a, b,",
        BAZAAR_NODE_PATIENCE="500ms",
        BAZAAR_NODE_KEY_FILE="here",
        BAZAAR_RELAY_NONSENSE="not ours",
        BAZAAR_TASK_DIR="nor this",
    )
    assert loaded.values == Example(
        public=True, relays=["a", "b"], patience=Seconds(0.5), key_file="here"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[node]\nlisen='x'", r"bazaar\.toml: \[node\] lisen: .*did you mean listen\?"),
        ("[node]\nzzzzzz=1", "there are: listen, port"),
        ("[nodes]\n", r"nodes: .*did you mean node\?"),
        ("node = 1", "write \\[node\\]"),
        ("[node]\nport='4001'", "port: Expected `int`, got `str`"),
        ("[node]\nport=70000", "port: Expected `int` <= 65535"),
        ("[node]\nmode='odd'", "mode: Invalid enum value"),
        ("[node]\npatience='soon'", "patience: not a duration: 'soon'"),
        ("[node]\npatience=true", "patience: expected a duration"),
        ("[node]\npassphrase='x'", "secrets belong neither"),
        ("[node]\nrecovery_seed='x'", "secrets belong neither"),
        ("[node", r"bazaar\.toml: "),
    ],
)
def test_what_is_wrong_in_a_file_is_named(world: World, content: str, message: str) -> None:
    world.near.write_text(content)
    with pytest.raises(ConfigError, match=message):
        world.load()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BAZAAR_NODE_PROT", "1", "BAZAAR_NODE_PROT: .*did you mean port"),
        ("BAZAAR_NODE_PORT", "x", "BAZAAR_NODE_PORT: Expected `int`"),
        ("BAZAAR_PASSPHRASE", "hush", "BAZAAR_PASSPHRASE: secrets"),
        ("BAZAAR_NODE_KEY", "hush", "BAZAAR_NODE_KEY: secrets"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(
    world: World, variable: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        world.load({}, **{variable: value})
    assert "hush" not in str(caught.value)


def test_the_rendered_file_shows_the_defaults(world: World) -> None:
    text = render_toml(Example, "node")
    assert '# How long we wait.\n# patience = "90s"\n' in text
    world.near.write_text(text)
    assert set(world.load().sources.values()) == {"default"}
    settings = [line[2:] for line in text.splitlines() if " = " in line]
    assert tomllib.loads("\n".join(settings)) == {
        "listen": "127.0.0.1",
        "port": 4001,
        "public": False,
        "relays": [],
        "patience": "90s",
        "mode": "fast",
    }


def test_durations() -> None:
    texts = ("500ms", "30s", "1.5m", "2 h", "7d")
    assert [parse_duration(text) for text in texts] == [0.5, 30, 90, 7200, 604800]
    for text in ("", "5", "-1s", "1y", "1s2"):
        with pytest.raises(ConfigError):
            parse_duration(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[relay]\nport=1\n\n[node]\n# port = 9\n  port = 70000\n", r"\(line 6; The port; 0"),
        ("[node]\nlisen='x'", r"did you mean listen\? \(line 2\)"),
        ("node.port = 'x'", r"got `str` \(somewhere in this file; The port"),
        ("[node]\nmode='odd'", r"\(line 2; How we go about it\.\)"),
    ],
)
def test_a_mistake_in_a_file_is_shown_with_its_line(
    world: World, content: str, message: str
) -> None:
    world.near.write_text(content)
    with pytest.raises(ConfigError, match=message):
        world.load()
