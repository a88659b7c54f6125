"""Collect the rows of several runs into one table, with the `setting` of each run's recipe as `dataset`, as studies do.

    python benchmarks/collect.py results/few-shot-controls.csv RUN... [--mode few-shot] [--variant one-view]

A run is a folder of `otolith evaluate`; all of them have the same variant, and an existing table keeps the rows of others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from otolith.evaluation.protocol import collect_rows
from otolith.experiments.toml import read_recipe
from otolith.storage.files import write_text


def rows_of(run: Path, modes: list[str] | None) -> pd.DataFrame:
    """Return a run's rows with the columns `dataset` (the setting) and `variant`."""
    recipe = read_recipe(run / "recipe.toml")
    rows = collect_rows(run / "rows")
    if modes:
        rows = rows[rows["mode"].isin(modes)]
    return rows.assign(dataset=recipe.get("setting", recipe["dataset"]))


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
    if given.table.exists():
        table = pd.concat([pd.read_csv(given.table, dtype={"shots": "Int64", "test_subjects": str}), table])
    table = table.drop_duplicates(["fingerprint", "dataset", "variant"])
    write_text(
        given.table, table.sort_values(["dataset", "variant", "mode", "shots", "seed", "fold"]).to_csv(index=False)
    )
    print(table.groupby(["dataset", "variant", "mode"]).size().to_string())


if __name__ == "__main__":
    main()
