"""Each promise of docs/promises.md names tests that exist."""

import re
from pathlib import Path

from tests.promises import PROMISES

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/promises.md").read_text(encoding="utf-8")


def test_the_tests_that_are_named_exist() -> None:
    folder, missing = "", []
    for path in re.findall(r"`((?:tests/[a-z_/]+/)?test_[a-z_0-9]+\.py)`", DOCUMENT):
        # The folder of one is that of those named after it.
        folder = path.rpartition("/")[0] or folder
        if not (ROOT / folder / path.rpartition("/")[2]).exists():
            missing.append(path)
    assert missing == []


def test_what_runs_at_length_is_in_the_table() -> None:
    numbers = {int(found) for found in re.findall(r"^\| (\d+) \|", DOCUMENT, re.MULTILINE)}
    assert {promise.number for promise in PROMISES} <= numbers
    assert len(numbers) == 15
