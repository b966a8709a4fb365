"""``bazaar demo``: watch strangers trade on this machine."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bazaar_node import outcomes
from bazaar_node.demo.stage import Stage
from bazaar_node.demo.story import Story
from bazaar_node.demo.teller import Teller
from bazaar_protocol.errors import BazaarError


def demo(
    *,
    json: Annotated[bool, Parameter(help="Write each line as JSON.")] = False,
    keep: Annotated[bool, Parameter(help="Keep the folder with all that the nodes leave.")] = False,
) -> int:
    """Watch strangers trade on this machine: a relay and five agents, no network.

    Each is a process of its own; every line comes from something that happened. It takes about
    half a minute, and leaves nothing behind.
    """
    teller = Teller(as_json=json)
    folder = Path(tempfile.mkdtemp(prefix="bazaar-"))
    is_kept = keep
    try:
        with Stage.opened(folder) as stage:
            Story(stage, teller).play()
    except BazaarError as error:
        is_kept = True
        teller.tell("failed", f"the demo failed: {error}", "bad", logs=str(folder))
        teller.add(f"the processes' logs: {folder}/*.log", "bad")
        return outcomes.BUG
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        teller.tell("kept", f"kept: {folder} (each agent's home, and its log)", folder=str(folder))
    _suggest(teller)
    return outcomes.OK


def _suggest(teller: Teller) -> None:
    bazaar = "bazaar" if shutil.which("bazaar") else sys.argv[0]
    program = """'sh -c "tr a-z A-Z < $BAZAAR_TASK_DIR/input"'"""
    teller.add("")
    teller.add("try next, each in a terminal of its own (ADDR is what the relay shows):")
    teller.add(f"  {bazaar} relay up --home relay")
    teller.add(f"  {bazaar} up --home bo --relay ADDR --offer text.shout --exec {program}")
    teller.add(f"  {bazaar} up --home ada --relay ADDR")
    teller.add(f"  {bazaar} post --home ada -c text.shout -i 'hello, stranger' --wait")
