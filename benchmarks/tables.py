"""Write tables of committed rows in Markdown: the report of one run, or the gains of one arm over others.

    python benchmarks/tables.py results/motionsense-simclr.csv
    python benchmarks/tables.py results/few-shot.csv few-shot forest svm minirocket --shots 10
    python benchmarks/tables.py results/few-shot.csv few-shot forest svm minirocket --means
    python benchmarks/tables.py results/placement-shift.csv wrist pocket all random-frozen --variants-of few-shot

The first form is what `otolith report` writes as `report.md`. The second has one line per corpus (and variant) and number of
labelled windows per class, and one column per other arm; gains in points with their intervals, then p values of Student's t
test, adjusted by Holm's method for all gains of the table. The third has the macro F1 of each arm instead. In the fourth the
variants of one arm are the arms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from otolith.evaluation.statistics import Gain, gains, holm
from otolith.reports.findings import markdown
from otolith.reports.study_tables import gain_cell, sorted_by_shots, text_table
from otolith.reports.style import p_value, shots_text


def gain_table(rows: pd.DataFrame, arm: str, others: list[str], shots: int | None) -> str:
    """Return the gains of an arm over others in Markdown, at one number of shots or at all."""
    found: dict[str, dict[str, Gain]] = {}
    parts = rows.groupby([name for name in ("dataset", "variant") if name in rows], sort=False)
    for names, part in parts:
        for other in others:
            for gain in sorted_by_shots(gains(part, arm, other)):
                if shots is not None and gain.shots != shots:
                    continue
                line = f"{', '.join(dict.fromkeys(names))}, {shots_text(gain.shots)}"
                found.setdefault(line, {})[f"over {other}"] = gain
    every = [gain for line in found.values() for gain in line.values()]
    adjusted = dict(zip(map(id, every), holm([gain.p for gain in every]).tolist(), strict=True))
    lines = {
        name: {
            column: gain_cell(gain)._replace(text=f"{gain_cell(gain).text}, p {p_value(adjusted[id(gain)])}")
            for column, gain in line.items()
        }
        for name, line in found.items()
    }
    return f"{len(every)} comparisons.\n\n{text_table(lines)}"


def mean_table(rows: pd.DataFrame, arms: list[str], shots: int | None) -> str:
    """Return the mean macro F1 of some arms over folds and seeds in Markdown, one line per corpus and number of shots."""
    rows = rows[rows["mode"].isin(arms) & (True if shots is None else rows["shots"] == shots)]
    keys = [name for name in ("dataset", "variant") if name in rows]
    means = rows.pivot_table(index=[*keys, "shots"], columns="mode", values="macro_f1", sort=False)[arms]
    lines = ["| |" + "".join(f" {arm} |" for arm in arms), "|---" * (1 + len(arms)) + "|"]
    for names, line in means.iterrows():
        label = ", ".join([*dict.fromkeys(map(str, names[:-1])), shots_text(names[-1])])
        lines.append(f"| {label} |" + "".join(" - |" if pd.isna(x) else f" {f'{x:.3f}'.lstrip('0')} |" for x in line))
    return "\n".join(lines)


def variants_as_arms(rows: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Return the rows with each variant of an arm as an arm; of the other arms, one row of those that are equal."""
    names = rows["mode"].where(rows["mode"] != arm, rows["variant"])
    return rows.assign(mode=names).drop(columns="variant").drop_duplicates(["dataset", "mode", "fingerprint"])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="rows as CSV")
    parser.add_argument("arms", nargs="*", help="the arm and those that it is compared with")
    parser.add_argument("--shots", type=int, help="only this number of labelled windows per class")
    parser.add_argument("--means", action="store_true", help="macro F1 of each arm in place of gains")
    parser.add_argument("--variants-of", metavar="ARM", help="the variants of this arm are the arms")
    given = parser.parse_args()
    rows = pd.read_csv(given.table, dtype={"shots": "Int64", "test_subjects": str})
    if given.variants_of:
        rows = variants_as_arms(rows, given.variants_of)
    if given.means:
        print(mean_table(rows, given.arms, given.shots))
        return
    print(gain_table(rows, given.arms[0], given.arms[1:], given.shots) if given.arms else markdown(rows))


if __name__ == "__main__":
    main()
