"""What pytest loads where bazaar is installed: the fixture ``bazaar_world`` and its options.

pytest imports this whenever it starts, so all that is heavy is imported by the fixture.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bazaar_simulations.testing.scripted import ScriptedWorld

_MARKER = (
    "bazaar_world(nodes=3, relays=1, weather=None): of what the world of the fixture bazaar_world "
    "is made"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("bazaar", "worlds of bazaar")
    group.addoption("--bazaar-seed", type=int, default=0, help="The seed of the first world.")
    group.addoption(
        "--bazaar-worlds", type=int, default=1, help="Run each test of a world with so many seeds."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say which marker there is."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each seed."""
    config = metafunc.config
    first, count = _number(config, "bazaar_seed"), _number(config, "bazaar_worlds")
    if "bazaar_world" in metafunc.fixturenames and count > 1:
        seeds = range(first, first + count)
        names = [f"seed {seed}" for seed in seeds]
        metafunc.parametrize("bazaar_world", seeds, indirect=True, ids=names)


@pytest.fixture
def bazaar_world(request: pytest.FixtureRequest) -> "ScriptedWorld":
    """Give a small world of real nodes and a relay, under virtual time.

    Mark the test with ``bazaar_world(nodes=…, relays=…, weather=…)`` for another one.
    """
    from bazaar_simulations.testing.scripted import ScriptedWorld

    seed: int = getattr(request, "param", _number(request.config, "bazaar_seed"))
    marker = request.node.get_closest_marker("bazaar_world")
    name, _, rest = request.node.nodeid.partition("[")
    parameters = rest.removesuffix("]").removeprefix(f"seed {seed}").strip("-")
    test = f"{name}[{parameters}]" if parameters else name
    quoted = f"'{test}'" if parameters else test
    return ScriptedWorld(
        seed,
        replay=f"pytest {quoted} --bazaar-seed {seed}",
        on_failure=lambda text: request.node.add_report_section("call", "bazaar world", text),
        **({} if marker is None else marker.kwargs),
    )


def _number(config: pytest.Config, option: str) -> int:
    value = config.getoption(option)
    assert isinstance(value, int)
    return value
