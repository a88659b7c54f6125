"""Collect the rows of several runs into one table, with the `setting` of each run's recipe as `dataset`, as studies write it.

    python benchmarks/collect.py results/few-shot-controls.csv RUN... [--mode few-shot] [--variant one-view]

A run is a folder of `otolith evaluate`. The variant of a row is `--variant`, or what the run's name has beyond its recipe's.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import pandas as pd

from otolith.evaluation.protocol import collect_rows
from otolith.storage.files import write_text


def rows_of(run: Path, modes: list[str] | None) -> pd.DataFrame:
    """Return a run's rows with the columns `dataset` (the setting) and `variant`."""
    recipe = tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))
    rows = collect_rows(run / "rows")
    if modes:
        rows = rows[rows["mode"].isin(modes)]
    return rows.assign(dataset=recipe.get("setting", recipe["dataset"]), variant=recipe["name"].rpartition("-")[2])


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--mode", action="append")
    parser.add_argument("--variant")
    given = parser.parse_args()
    table = pd.concat([rows_of(run, given.mode) for run in given.runs])
    if given.variant:
        table["variant"] = given.variant
    table = table.drop_duplicates(["fingerprint", "dataset", "variant"])
    write_text(
        given.table, table.sort_values(["dataset", "variant", "mode", "shots", "seed", "fold"]).to_csv(index=False)
    )
    print(table.groupby(["dataset", "variant", "mode"]).size().to_string())


if __name__ == "__main__":
    main()
