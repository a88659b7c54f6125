"""Checks that two versions of the code give the same results: compares the confusion matrices of two tables of rows.

A change that only moves or renames code must change no number. Run the same recipes with the code before and after the
change, on the same machine with one thread, and compare the two tables (CSV) that `otolith study` or `otolith report` wrote:

    python benchmarks/same_rows.py before.csv after.csv

A row is identified by dataset, variant, objective, mode, shots, fold and seed; a table of `otolith report` has no variant.
Columns that depend on the code or on the machine (fingerprint, commit, seconds, ...) are not compared. The script prints how
many matrices are equal, names every row that differs or is missing, and exits with status 1 if there is any such row.
Rows of `after.csv` that `before.csv` lacks are counted, and are no failure.
"""

import csv
import json
import sys
from pathlib import Path

KEYS = ("dataset", "variant", "objective", "mode", "shots", "fold", "seed")


def read(path: Path) -> dict[tuple[str, ...], list[list[int]]]:
    """Return the confusion matrix of every row of a table, by the row's key."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found: dict[tuple[str, ...], list[list[int]]] = {}
    for row in rows:
        if missing := [name for name in (*KEYS, "confusion") if name not in row and name != "variant"]:
            sys.exit(f"{path}: no column '{missing[0]}'; expected a table that `otolith study` or `report` wrote")
        key = tuple(row.get(name, "") for name in KEYS)
        if key in found:
            sys.exit(f"{path}: two rows have the key {' / '.join(key)}; write one table per setting")
        found[key] = json.loads(row["confusion"])
    return found


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: python benchmarks/same_rows.py BEFORE.csv AFTER.csv")
    before, after = (read(Path(name)) for name in sys.argv[1:])
    if not before:
        sys.exit(f"{sys.argv[1]}: no rows, so there is nothing to compare")
    equal = 0
    for key, matrix in before.items():
        if after.get(key) == matrix:
            equal += 1
        elif key in after:
            print(f"differs: {' / '.join(key)}")
        else:
            print(f"missing: {' / '.join(key)}")
    print(f"{equal} of {len(before)} confusion matrices are equal; {len(after.keys() - before.keys())} rows are new")
    sys.exit(equal < len(before))


if __name__ == "__main__":
    main()
