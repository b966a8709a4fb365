"""A poster's own check of a result: ``python check.py REPORT RESULT`` exits with 0 if it is right.

Its first line becomes the reason of the verdict.
"""

import csv
import json
import sys
from pathlib import Path


def main() -> int:
    """Compare the rows of the result with those of the report."""
    report, result = (Path(argument).read_text(encoding="utf-8") for argument in sys.argv[1:3])
    columns, *rows = csv.reader(report.splitlines())
    found = json.loads(result)
    if found["columns"] != columns:
        return _say(f"the columns are {found['columns']}, not {columns}", is_right=False)
    missing = [row for row in rows if row not in found["rows"]]
    if missing:
        return _say(f"a row is missing: {', '.join(missing[0])}", is_right=False)
    if len(found["rows"]) != len(rows):
        return _say(f"{len(found['rows'])} rows, not {len(rows)}", is_right=False)
    return _say(f"all {len(rows)} rows are those of the report", is_right=True)


def _say(reason: str, *, is_right: bool) -> int:
    sys.stdout.write(f"{reason}\n")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
