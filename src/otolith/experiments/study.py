"""Run many recipes as one study."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from otolith.evaluation.plan import fold_seeds, planned_rows
from otolith.evaluation.protocol import collect_rows
from otolith.experiments.recipe import load, variants
from otolith.experiments.run import Run


def study(recipes: Sequence[Path], folder: Path, data: Path, changes: Sequence[str] = ()) -> list[Run]:
    """Return a run for every variant of these recipes, or for a recipe without variants; they share encoders and rows."""
    runs = []
    for path in recipes:
        names: list[str | None] = [*variants(path)]
        for variant in names or [None]:
            loaded = load(path, changes, variant=variant)
            runs.append(Run(loaded, folder / f"{loaded.setting}-{variant or loaded.name}", data, shared=folder))
    return runs


def study_rows(runs: Sequence[Run]) -> tuple[pd.DataFrame, dict[tuple[str, str], int]]:
    """Return the rows of a study that were computed so far, and the number of planned ones by setting and variant.

    The column `dataset` holds a recipe's `setting`, as one corpus may be used in several settings, and `corpus` the corpus.

    Raises:
        FileNotFoundError: there are no rows.
    """
    parts, counts = [], {}
    for run in runs:
        setting = run.recipe.setting
        variant = run.folder.name.removeprefix(f"{setting}-")
        try:
            planned = run.planned_rows(run.windows(), allow_seen=True)
        except FileNotFoundError:
            planned = []  # not pretrained yet
        there = [cell for cell in planned if (run.rows / f"{cell.fingerprint}.json").exists()]
        protocol = {name: value.default for name, value in inspect.signature(planned_rows).parameters.items()}
        protocol |= {name: value.default for name, value in inspect.signature(fold_seeds).parameters.items()}
        protocol |= run.recipe.protocol
        folds = protocol["folds"] if protocol["test"] is None else 1
        kinds = [run.recipe.overrides.get(mode, {}).get("mode", mode) for mode in protocol["modes"]]
        zero = kinds.count("zero-shot")  # one row for all shots
        rows = folds * len(protocol["seeds"]) * (len(protocol["shots"]) * (len(kinds) - zero) + zero)
        counts[setting, variant] = rows
        if there:
            found = collect_rows(run.rows, there)
            parts.append(found.assign(variant=variant, corpus=found["dataset"], dataset=setting))
    if not parts:
        raise FileNotFoundError("no result rows of this study yet; run: otolith study RECIPE")
    return pd.concat(parts, ignore_index=True), counts


def study_recalls(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the recalls of a study that were computed so far, with columns `setting` and `variant`; it may be empty."""
    found = []
    for run in runs:
        if run.can_retrieve:
            variant = run.folder.name.removeprefix(f"{run.recipe.setting}-")
            found += [
                {"setting": run.recipe.setting, "variant": variant, **dataclasses.asdict(recall)}
                for recall in run.retrieve(allow_seen=True, existing_only=True)
            ]
    table: pd.DataFrame = pd.DataFrame(found)
    return table
