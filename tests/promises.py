"""The promises of docs/promises.md, each by its test, longer than a build server has time for."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Promise:
    """One promise, and the test that shows it."""

    number: int
    says: str
    test: str
    settings: dict[str, str] = field(default_factory=dict)


PROMISES: Final = (
    Promise(2, "what is acknowledged survives a power cut",
            "tests/integration/test_power_cuts.py", {"BAZAAR_POWER_CUTS": "1000"}),
    Promise(8, "replay changes nothing", "tests/unit/test_relay_replayed.py"),
    Promise(10, "no frame crashes or bloats a process",
            "tests/integration/test_strangers.py", {"BAZAAR_FUZZ_INPUTS": "10000000"}),
    Promise(12, "a flood of made-up identities does not blind",
            "tests/integration/test_floods.py",
            {"BAZAAR_FLOOD_IDENTITIES": "10000", "BAZAAR_FLOOD_POSTS": "100",
             "BAZAAR_FLOOD_S": "120"}),
    Promise(13, "a full disk never lies", "tests/integration/test_full_disks.py"),
)  # fmt: skip


def show_promises() -> int:
    """Run them one after the other; 1 if one is not kept."""
    is_broken = False
    for promise in PROMISES:
        sys.stdout.write(f"\n{promise.number}. {promise.says}: {promise.test}\n")
        sys.stdout.flush()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", promise.test, "-q", "-n0", "-p", "no:randomly",
             "-o", "timeout=0"],
            env={**os.environ, **promise.settings}, check=False,
        )  # fmt: skip
        is_broken |= done.returncode != 0
    return int(is_broken)
