"""Collect the rows of several runs into one table, with the `setting` of each run's recipe as `dataset`, as studies do.

    python benchmarks/collect.py results/few-shot-cheaper.csv RUN... --mode few-shot --variant one-view
    python benchmarks/collect.py results/few-shot-controls.csv RUN...

A run is a folder of `otolith evaluate`. An existing table keeps its other rows. Of a run whose rows were made by several
versions of the code, `--commit` chooses those of one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from otolith.evaluation.protocol import collect_rows
from otolith.experiments.toml import read_recipe
from otolith.storage.files import write_text


def rows_of(run: Path, modes: list[str] | None, commit: str) -> pd.DataFrame:
    """Return a run's rows of some modes and one commit; its setting is their `dataset`."""
    recipe = read_recipe(run / "recipe.toml")
    rows = collect_rows(run / "rows")
    rows = rows[rows["commit"].str.startswith(commit) & (rows["mode"].isin(modes) if modes else True)]
    return rows.assign(dataset=recipe.get("setting", recipe["dataset"]))


def main() -> None:
    """Write the table and print how many rows it has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--mode", action="append")
    parser.add_argument("--variant", help="what the column variant says of these rows")
    parser.add_argument("--commit", default="")
    given = parser.parse_args()
    table = pd.concat([rows_of(run, given.mode, given.commit) for run in given.runs])
    if given.variant:
        table["variant"] = given.variant
    if given.table.exists():
        table = pd.concat([pd.read_csv(given.table, dtype={"shots": "Int64", "test_subjects": str}), table])
    keys = ["dataset", *(["variant"] if "variant" in table else []), "mode"]
    table = table.drop_duplicates([*keys, "fingerprint"]).sort_values([*keys, "shots", "seed", "fold"])
    write_text(given.table, table.to_csv(index=False))
    print(table.groupby(keys).size().to_string())


if __name__ == "__main__":
    main()
