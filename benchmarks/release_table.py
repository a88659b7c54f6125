"""Print the tables of docs/release-encoder.md from the rows of benchmarks/release_encoder.py and of docs/few-shot.md.

    python benchmarks/release_table.py results/release-encoder.csv results/few-shot-controls.csv results/few-shot.csv

The files after the first have rows of encoders that were pretrained on the training people of a corpus, of untrained ones,
and of forests, for the corpora of recipes/few-shot/proof/. They are of the same folds and labelled windows; of several files
that have an arm, the one with most of the rows counts.
"""

from __future__ import annotations

import sys

import pandas as pd

from otolith.evaluation.statistics import paired_difference

KEYS = ["shots", "seed", "fold", "test_subjects"]
ARMS = {
    "released": ("released", "few-shot"),
    "own": ("own", "few-shot"),
    "untrained": ("released", "random-frozen"),
    "forest": ("released", "forest"),
}
EARLIER = {
    "motionsense-pocket": "motionsense, held back",
    "spar-wrist": "spar, held back",
    "wisdm-wrist": "wisdm",
    "wharf-wrist": "wharf",
    "utd-mhad": "utd-mhad",
    "dsads-right-arm": "dsads, right wrist",
    "sp-sw-har-wrist": "sp-sw-har, wrist",
}
SAME = {"own": "few-shot", "untrained": "random-frozen", "forest": "forest"}
"""Arms that the other files can have, by their mode there."""


def arm_rows(rows: pd.DataFrame, others: list[pd.DataFrame], setting: str) -> dict[str, pd.DataFrame]:
    """Return the rows of each arm in a setting, from the table that has most of the folds and draws of `released`."""
    mine = rows[rows["dataset"] == setting]
    arms = {name: mine[(mine["variant"] == variant) & (mine["mode"] == mode)] for name, (variant, mode) in ARMS.items()}
    for other in others:
        for name, mode in SAME.items():
            found = other[(other["dataset"] == EARLIER.get(setting)) & (other["mode"] == mode)].assign(dataset=setting)
            if len(arms["released"][KEYS].merge(found, on=KEYS)) > len(
                arms["released"][KEYS].merge(arms[name], on=KEYS)
            ):
                arms[name] = found
    return {name: table for name, table in arms.items() if len(table)}


def main() -> None:
    """Print one table of means and one of paired differences."""
    rows, *others = (pd.read_csv(path) for path in sys.argv[1:])
    print("| setting | windows per class | " + " | ".join(ARMS) + " |\n|" + "---|" * (2 + len(ARMS)))
    gains = []
    for setting in dict.fromkeys(rows["dataset"]):
        arms = arm_rows(rows, others, setting)
        for shots in sorted(rows[rows["dataset"] == setting]["shots"].unique()):
            base = arms["released"][arms["released"]["shots"] == shots]
            cells = []
            for name in ARMS:
                part = arms.get(name, rows[:0])
                both = base[KEYS].merge(part[part["shots"] == shots], on=KEYS)
                note = "" if len(both) == len(base) else f" ({len(both)} of {len(base)} rows)"
                cells.append(f"{both['macro_f1'].mean():.3f}{note}" if len(both) else "-")
            print(f"| {setting} | {shots} | " + " | ".join(cells) + " |")
        for other in ("own", "untrained", "forest"):
            if other in arms:
                for gain in paired_difference(arms["released"], arms[other], "released", other):
                    ends = f"{100 * gain.gain:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
                    gains.append((setting, other, gain.shots, ends, gain.cells))
    print("\n| setting | over | windows per class | gain in points | folds x draws |\n|---|---|---|---|---|")
    for line in gains:
        print("| " + " | ".join(map(str, line)) + " |")


if __name__ == "__main__":
    main()
