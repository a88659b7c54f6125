"""Make a committed result row again, from the row alone, and compare both.

A row holds the recipe that made it. `otolith rerun` plans that recipe's rows, pretrains the encoder that the row needs with
the code of `otolith pretrain`, computes the row with the code of `otolith evaluate`, and compares every column that is a
result, the hash of the encoder's weights among them. Columns of provenance may differ: time, code, commit, torch, machine,
the hash of the encoder's file, which holds such facts, and the fingerprint, which depends on the code.
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from otolith.evaluation.plan import FoldSeed, arms_by_shots, planned_rows
from otolith.evaluation.protocol import evaluate
from otolith.evaluation.rows import Row
from otolith.experiments import recipe as recipes
from otolith.experiments.run import Run

PROVENANCE = ("checkpoint", "seconds", "code", "commit", "torch", "machine", "fingerprint", "recipe")
"""Columns that are no results."""

MADE_BY = ("code", "commit", "torch", "machine")
"""Columns that may explain why a row differs."""

_TYPES: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": lambda text: text == "True"}


@dataclasses.dataclass(frozen=True)
class CommittedRow:
    """A row of a table.

    Attributes:
        table: the CSV file.
        number: of the row in the table, from 1.
        values: by column of `Row`, in its type; columns that the table lacks are missing.
    """

    table: Path
    number: int
    values: dict[str, Any]

    def __str__(self) -> str:
        return f"row {self.number} of '{self.table}'"


class Difference(NamedTuple):
    """A column in which a row that was made again differs.

    Attributes:
        column: its name.
        committed: value in the table.
        again: value now.
    """

    column: str
    committed: Any
    again: Any


@dataclasses.dataclass(frozen=True)
class Rerun:
    """What is needed to make a row again.

    Attributes:
        row: the committed row.
        run: the run of its recipe.
        unit: the fold and seed of the row, as the recipe plans them.
    """

    row: CommittedRow
    run: Run
    unit: FoldSeed

    def again(self) -> Row:
        """Compute the row again; its encoder must be pretrained.

        Raises:
            FileNotFoundError: the encoder is not pretrained yet.
        """
        values = self.row.values
        windows = self.run.windows()
        seen = bool(values["test_seen_in_pretraining"])
        planned = [
            row
            for row in self.run.planned_rows(windows, allow_seen=seen, of=[self.unit])
            if (row.arm, row.shots) == (values["mode"], values["shots"])
        ]
        with tempfile.TemporaryDirectory() as folder:  # not the rows of a run, which would be read and not made
            (row,) = evaluate(windows, planned, folder=Path(folder), recipe=self.run.recipe.as_json())
        return row


def differences(row: CommittedRow, again: Row) -> tuple[list[Difference], list[Difference]]:
    """Return the results in which a row that was made again differs, and the columns of `MADE_BY` in which it does.

    Equal means equal to the bit.
    """
    found = dataclasses.asdict(again)
    every = [Difference(name, value, found[name]) for name, value in row.values.items() if value != found[name]]
    results = [each for each in every if each.column not in PROVENANCE]
    return results, [each for each in every if each.column in MADE_BY]


def rerun(row: CommittedRow, data: Path, folder: Path, recipe: recipes.Recipe | None = None) -> Rerun:
    """Return what is needed to make a row again; nothing is computed yet.

    Args:
        row: from `find_row`.
        data: folder of the prepared corpora.
        folder: for the encoder, which is kept.
        recipe: the recipe that made the row; None: the one that the row holds.

    Raises:
        FileNotFoundError: the corpus is not prepared.
        ValueError: the row holds no recipe, the corpus was prepared or cut in another way, or the recipe plans no such row.
    """
    values = row.values
    if recipe is None:
        if not values.get("recipe"):
            raise ValueError(
                f"{row} holds no recipe, since it was made before rows recorded it (commit {values.get('commit', '?')}); "
                "give the recipe that made it: --recipe RECIPE"
            )
        try:
            recipe = recipes.from_json(values["recipe"])
        except ValueError as error:
            raise ValueError(f"{row}, column recipe: {error}") from error
    run = Run(recipe, folder, data)
    windows = run.windows()
    if (cut := windows.cut_hash[:16]) != values["windows"]:
        raise ValueError(
            f"{row} was made from other windows of {recipe.dataset}: they have the hash {values['windows']}, those in "
            f"'{data / recipe.dataset}' have {cut}; prepare the same official files, or give their folder: --data DIR"
        )
    place = (values["fold"], values["seed"], values["fold_seed"])
    unit = next((u for u in run.plan(windows) if (u.split.fold, u.seed, u.fold_seed) == place), None)
    if unit is None or " ".join(unit.split.test) != values["test_subjects"]:
        raise ValueError(
            f"the recipe of {row} has no fold {values['fold']} with seed {values['seed']} that tests the subjects "
            f"{values['test_subjects']}; give the recipe that made the row: --recipe RECIPE"
        )
    known = inspect.signature(planned_rows).parameters
    shots, modes = (recipe.protocol.get(name, known[name].default) for name in ("shots", "modes"))
    if (values["shots"], values["mode"]) not in arms_by_shots(shots, modes, recipe.overrides):
        raise ValueError(
            f"the recipe of {row} plans no row of mode '{values['mode']}' with {values['shots']} labelled windows per "
            "class; give the recipe that made the row: --recipe RECIPE"
        )
    return Rerun(row, run, unit)


def find_row(address: str, number: int | None = None) -> CommittedRow:
    """Return the row that an address names.

    Args:
        address: `TABLE.csv#FINGERPRINT`, where the first characters of the fingerprint suffice; or the table alone.
        number: of the row in the table, from 1, instead of the fingerprint.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: the file is no table of rows, or no or several rows have this address.
    """
    name, mark, fingerprint = address.partition("#")
    table = Path(name)
    if bool(mark and fingerprint) == (number is not None):
        raise ValueError(f"'{address}' names no row; expected TABLE.csv#FINGERPRINT, or TABLE.csv and the row's number")
    if not table.is_file():
        raise FileNotFoundError(f"no table at '{table}'; expected a CSV file of rows, such as results/few-shot.csv")
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"'{table}' cannot be read as a table: {error}") from error
    needed = {"windows", "mode", "shots", "fold", "seed", "fold_seed", "test_subjects", "macro_f1", "fingerprint"}
    if missing := needed - set(rows[0] if rows else ()):
        raise ValueError(
            f"'{table}' lacks the columns {', '.join(sorted(missing))}; expected result rows that otolith report or otolith "
            "study wrote"
        )
    places = [place for place, row in enumerate(rows) if row["fingerprint"].startswith(fingerprint)] if mark else []
    if number is not None:
        places = [number - 1] if 0 < number <= len(rows) else []
    if len({rows[place]["fingerprint"] for place in places}) != 1:
        found = f"{len(places)} rows" if places else "no row"
        what = f"row {number} of {len(rows)}" if number is not None else f"fingerprint {fingerprint}"
        raise ValueError(f"'{table}' has {found} with the address {what}; expected one row")
    return CommittedRow(table, places[0] + 1, _values(rows[places[0]], table, places[0] + 1))


def _values(row: dict[str, str], table: Path, number: int) -> dict[str, Any]:
    """Return the columns of `Row` in their types. In a study's table `dataset` is the setting, and `corpus` the dataset."""
    texts = {**row, "dataset": row.get("corpus", row["dataset"])}
    if "variant" in row and "corpus" not in row:
        del texts["dataset"]
    found: dict[str, Any] = {}
    for field in dataclasses.fields(Row):
        if field.name not in texts:
            continue
        text, kind = texts[field.name], str(field.type)
        try:
            found[field.name] = (
                None if kind == "int | None" and not text else _TYPES[kind.removesuffix(" | None")](text)
            )
        except ValueError as error:
            raise ValueError(f"row {number} of '{table}', column {field.name}: '{text}' is no {kind}") from error
    return found
