"""The fixture ``bazaar_world``, as somebody uses it who has only installed bazaar."""

import re
import subprocess
import sys
from pathlib import Path

DOC = Path(__file__).parents[2] / "docs" / "simulations.md"
AGENT = """
from bazaar_node import Node, PostRequest, Task

node = Node("counter")


@node.offer("text.count", price=5, eta_s=30)
async def count(task: Task) -> object:
    return {"words": len(task.input.split())}


REQUEST = PostRequest(capability="text.count", input=b"one two", media_type="text/plain")
"""
HEAD = """
import asyncio
import pytest
from my_agent import REQUEST, node
"""
CRASH = """
def test_my_agent(bazaar_world):
    world = bazaar_world
    bo = world.agent("bo")

    @world.agent("ada").offer("text.count", price=5, eta_s=30)
    async def count(task):
        await world.sleep(10)
        return {"words": len(task.input.split())}

    async def story():
        task = await bo.post(REQUEST)
        await world.sleep(5)
        world.crash("ada")
        await world.sleep(600)
        world.start("ada")
        assert await bo.result(task) == b'{"words":2}'
        assert world.now_s > 600

    world.play(story)
"""
OWN = """
def test_the_agent_itself_behind_a_partition(bazaar_world):
    world = bazaar_world
    world.adopt("ada", node)
    bo = world.agent("bo")

    async def story():
        await bo.result(await bo.post(REQUEST))
        world.part("ada")
        task = await bo.post(REQUEST)
        with pytest.raises(TimeoutError):
            await bo.result(task, timeout_s=20)
        world.heal()
        assert await bo.result(task) == b'{"words":2}'

    world.play(story)
"""
TWO_RELAYS = """
@pytest.mark.bazaar_world(nodes=2, relays=2)
def test_one_relay_is_gone(bazaar_world):
    world = bazaar_world
    world.adopt("bo", node)
    ada = world.agent("ada")

    async def story():
        world.crash("relay1", silently=True)
        assert await ada.result(await ada.post(REQUEST)) == b'{"words":2}'

    world.play(story)
"""
WRONG = """
def test_wrong(bazaar_world):
    world = bazaar_world
    world.adopt("ada", node)

    async def story():
        assert await world.agent("bo").result(await world.agent("bo").post(REQUEST)) == b"3"

    world.play(story)
"""
BROKEN = """
@pytest.mark.parametrize("word", ["two words"])
def test_broken(bazaar_world, word, monkeypatch):
    from bazaar_node.driver import Driver

    def listen_only(driver):
        driver.is_listening = True

    monkeypatch.setattr(Driver, "begin_ticking", listen_only)

    async def story():
        await bazaar_world.agent("bo").post(REQUEST)

    bazaar_world.play(story)
"""
TRACE = """
def test_trace(bazaar_world):
    world = bazaar_world
    world.adopt("ada", node)
    bo = world.agent("bo")

    async def story():
        await bo.result(await bo.post(REQUEST))

    world.play(story)
    print("digest", world.seed, world.journal.digest)
"""


def run(folder: Path, *tests: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run pytest on tests in a folder of their own, which knows nothing of ours."""
    (folder / "my_agent.py").write_text(AGENT)
    (folder / "test_mine.py").write_text(HEAD + "".join(tests))
    command = [
        *(sys.executable, "-m", "pytest", "--strict-markers", "-q"),
        *("-p", "no:cacheprovider", "-p", "no:randomly"),
        *("-W", "ignore::pytest.PytestDeprecationWarning", *options),
    ]
    answer = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=110
    )
    return answer.returncode, answer.stdout + answer.stderr


def test_agents_are_tested_under_virtual_time_with_crashes_and_partitions(tmp_path: Path) -> None:
    status, said = run(tmp_path, CRASH, OWN, TWO_RELAYS)
    assert status == 0, said
    assert "3 passed" in said


def test_what_is_documented_works(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    (documented,) = (block for block in blocks if "bazaar_world" in block)
    status, said = run(tmp_path, documented)
    assert status == 0, said


def test_a_failing_story_shows_what_happened_and_how_to_see_it_again(tmp_path: Path) -> None:
    status, said = run(tmp_path, WRONG, options=("--bazaar-seed", "7"))
    assert status == 1
    assert "bazaar world" in said
    assert "takes verdict" in said  # the last lines of the world's log
    assert "to see it again: pytest test_mine.py::test_wrong --bazaar-seed 7" in said


def test_a_broken_invariant_says_how_to_see_it_again(tmp_path: Path) -> None:
    status, said = run(tmp_path, BROKEN, options=("--bazaar-seed", "3", "--bazaar-worlds", "2"))
    assert status == 1
    assert "every task comes to an end" in said
    for seed in (3, 4):
        named = f"pytest 'test_mine.py::test_broken[two words]' --bazaar-seed {seed}"
        assert f"to see it again: {named}" in said


def test_one_seed_is_one_run(tmp_path: Path) -> None:
    options = ("-s", "--bazaar-worlds", "2")
    first, again = (run(tmp_path, TRACE, options=options)[1] for _ in range(2))
    digests = re.findall(r"digest \d \w+", first)
    assert len(set(digests)) == 2
    assert re.findall(r"digest \d \w+", again) == digests


def test_pytest_starts_without_what_a_world_needs(tmp_path: Path) -> None:
    """Whoever has installed bazaar and tests something else pays nothing for it."""
    (tmp_path / "test_other.py").write_text("""
import sys

def test_nothing_is_imported():
    heavy = {"libp2p", "numpy", "msgspec", "bazaar_protocol", "bazaar_node", "bazaar_host"}
    assert "bazaar_simulations.testing.plugin" in sys.modules
    assert not heavy & set(sys.modules)
""")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
               "-p", "no:asyncio", "-p", "no:hypothesispytest", "test_other.py"]  # fmt: skip
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_what_makes_no_sense_is_told(tmp_path: Path) -> None:
    wrong = {
        'world.agent("zoe")': "no agent is called zoe; there are ada, bo, cy",
        'world.crash("zoe")': "nobody is called zoe",
        'world.start("ada")': "ada runs already",
        'world.crash("ada"); world.crash("ada")': "ada does not run",
    }
    tests = [
        f"""
def test_wrong_{number}(bazaar_world):
    world = bazaar_world

    async def story():
        {statement}

    world.play(story)
"""
        for number, statement in enumerate(wrong)
    ]
    _, answer = run(tmp_path, *tests)
    assert f"{len(wrong)} failed" in answer
    for said in wrong.values():
        assert said in answer
