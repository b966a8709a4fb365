"""A worker's program: a table in CSV comes in, its rows as JSON come out.

``python extract.py SECONDS`` takes that long, and tells how far it is. With ``--careless`` it loses
a row, as somebody does who hopes that nobody checks.
"""

import csv
import json
import sys
import time

_STEPS = 10


def main() -> None:
    """Read the task, work, and write the result."""
    seconds, is_careless = float(sys.argv[1]), "--careless" in sys.argv[2:]
    lines = json.load(sys.stdin)["untrusted_input"].splitlines()
    for step in range(_STEPS):
        sys.stderr.write(f"{step * 100 // _STEPS}% reading the table\n")
        sys.stderr.flush()
        time.sleep(seconds / _STEPS)
    columns, *rows = csv.reader(lines)
    if is_careless:
        del rows[len(rows) // 2]
    json.dump({"columns": columns, "rows": rows}, sys.stdout)


if __name__ == "__main__":
    main()
