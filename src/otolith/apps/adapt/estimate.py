"""Estimate how well candidates recognise the classes on people they have not seen, and choose one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from otolith.data.splits import Split, by_subject
from otolith.data.windows import Windows
from otolith.datasets import DATASETS
from otolith.evaluation.statistics import GROUPS_FOR_INTERVAL, jackknife_interval
from otolith.reports.figures import confusion_panel
from otolith.reports.style import COLOURS, STYLE, points

CANDIDATES = {"encoder": "adapted encoder", "forest": "random forest"}
"""What is compared, in words; where the two tie, the first is taken."""

FOLDS = 5
TIE = 0.005
"""Macro F1 that lie no further apart are a tie."""


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """How well one candidate tells the classes apart on people it has not seen.

    Attributes:
        macro_f1: over the classes, of all windows together, each classified once.
        low: of the 95 % interval over people (`evaluation.statistics.jackknife_interval`); NaN with fewer than
            `GROUPS_FOR_INTERVAL`.
        high: its other end.
        f1: (classes,) in the order of the windows' `label_names`.
        confusion: (classes, classes) windows; rows are the truth.
        f1_by_person: (people, classes) of each person's windows alone; NaN where a person lacks a class.
    """

    macro_f1: float
    low: float
    high: float
    f1: Float[np.ndarray, " classes"]
    confusion: Int[np.ndarray, "classes classes"]
    f1_by_person: Float[np.ndarray, "people classes"]

    def __str__(self) -> str:
        ends = "" if math.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.macro_f1:.3f}{ends}"


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """Which candidate is taken, and by what.

    Attributes:
        chosen: of `CANDIDATES`.
        why: sentences.
        estimates: by candidate; empty where leaving people out is impossible.
        table: a line a fold and candidate, and for each candidate one of all folds together.
    """

    chosen: str
    why: tuple[str, ...]
    estimates: dict[str, Estimate]
    table: pd.DataFrame


def estimate_figure(choice: Choice, classes: Sequence[str]) -> Figure:
    """F1 of each class for both candidates, and what the chosen one takes for what."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, max(4.2, 1.6 + 0.45 * len(classes))), layout="constrained")
        bars, matrix = figure.subplots(1, 2)
        at = np.arange(len(classes))
        few = math.isnan(choice.estimates[choice.chosen].low)
        people = "; each dot is a person" if few else ""
        for number, (name, colour) in enumerate(zip(CANDIDATES, ("finetune", "forest"), strict=True)):
            found = choice.estimates[name]
            title = f"{CANDIDATES[name]}: macro F1 {found}"
            place = at + 0.4 * number - 0.2
            bars.barh(place, found.f1, 0.36, color=COLOURS[colour], label=title)
            if math.isnan(found.low):  # too few people for an interval
                bars.plot(found.f1_by_person.T, place, "o", color="#222222", markersize=3)
        bars.set_yticks(at, classes)
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
        bars.set_axisbelow(True)
        bars.set(xlim=(0, 1), xlabel="F1, people left out" + people, title="How well each class is found")
        bars.legend(loc="upper left", bbox_to_anchor=(0, -0.13))
        matrix.grid(visible=False)
        confusion_panel(matrix, choice.estimates[choice.chosen].confusion, classes)
        matrix.set(xlabel="predicted, percent of the true class", title=f"The {CANDIDATES[choice.chosen]}, chosen")
    return figure


def leave_people_out(windows: Windows, seed: int) -> list[Split]:
    """Return the folds of the estimate, at most `FOLDS` groups of people; none where there is one person."""
    people = [windows.subject_names[number] for number in np.unique(windows.subject)]
    return by_subject(people, folds=min(FOLDS, len(people)), validation=0.0, seed=seed) if len(people) > 1 else []


def why_impossible(windows: Windows, splits: Sequence[Split]) -> str:
    """Return why leaving people out is impossible; empty where it is possible."""
    taken = "so it cannot be tested on other people. The adapted encoder is taken as it is, without an estimate"
    if not splits:
        only = windows.subject_names[windows.subject[0]]
        return (
            f"All windows are of one person ({only}): leaving people out is impossible, {taken}; label a second person."
        )
    for split in splits:
        assert windows.y is not None
        left = {windows.label_names[k] for k in windows.y[windows.rows_for_subjects(split.train)]}
        if len(left) < 2:
            said = f"Without {', '.join(split.test)} there is one label, '{left.pop()}'"
            return f"{said}: leaving people out is impossible, {taken}; label more classes of each person."
    return ""


def warning_about_encoder(about: Mapping[str, Any], people: Collection[str]) -> str:
    """Return what to know of the people whom an encoder was pretrained on: an estimate for these same people is too good.

    Args:
        about: of the checkpoint.
        people: names of those who are adapted to. Only in a corpus of one's own do equal names mean the same person.

    Returns:
        A sentence; empty if the checkpoint names no people.
    """
    seen = [str(name).partition(":") for name in about.get("subjects", ())]
    if not seen:
        return ""
    corpora, public = sorted({corpus for corpus, _, _ in seen}), set(DATASETS) - {"own"}
    if same := sorted({person for corpus, _, person in seen if corpus not in public} & set(people)):
        return (
            f"the encoder was pretrained on people of the same names ({', '.join(same[:5])}): if they are the same people, "
            "the estimate is too good; pretrain it without them, or leave the encoder out"
        )
    return (
        f"the encoder was pretrained on people of {', '.join(corpora)}: if these recordings are of some of "
        "them, the estimate is too good"
    )


def warnings_about(windows: Windows, splits: Sequence[Split]) -> list[str]:
    """Return what makes the estimate worse than it looks, a sentence each."""
    found = []
    assert windows.y is not None
    for split in splits:
        train, test = (windows.rows_for_subjects(side) for side in (split.train, split.test))
        for label in np.setdiff1d(windows.y[test], windows.y[train]):
            people = np.unique(windows.subject[test[windows.y[test] == label]])
            names = ", ".join(windows.subject_names[number] for number in people)
            found.append(
                f"'{windows.label_names[label]}' is known of {names} alone, who {'is' if len(people) == 1 else 'are'} left "
                "out together: its F1 in the estimate is 0, whatever the model; label it of more people"
            )
    return found


def _f1(confusion: np.ndarray) -> np.ndarray:
    """(..., classes) from (..., classes, classes); NaN where the truth lacks a class."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, said = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return np.where(true > 0, 2 * right / np.maximum(true + said, 1), np.nan)


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
    """(...) from (..., classes, classes), over the classes that the truth has."""
    return np.asarray(np.nanmean(_f1(confusion), axis=-1))


def choose(
    windows: Windows, splits: Sequence[Split], predicted: Mapping[str, np.ndarray], *, forest: bool = True
) -> Choice:
    """Return the candidate that recognises left-out people better, with the estimates; the encoder where they tie.

    Args:
        windows: labelled.
        splits: from `leave_people_out`.
        predicted: the label that each candidate gave to each window while its person was left out.
        forest: whether the forest may be chosen; it is estimated in any case.
    """
    y, classes = windows.y, windows.label_names
    assert y is not None
    people = np.unique(windows.subject)
    by_person = {
        name: np.stack(
            [
                confusion_matrix(y[mine], guess[mine], labels=range(len(classes)))
                for mine in (windows.subject == number for number in people)
            ]
        )
        for name, guess in predicted.items()
    }
    enough = len(people) >= GROUPS_FOR_INTERVAL
    # macro F1 of all people together, and without each of them
    total = {name: _macro_f1(each.sum(axis=0)) for name, each in by_person.items()}
    without = {name: _macro_f1(each.sum(axis=0) - each) for name, each in by_person.items()}
    estimates = {}
    for name, each in by_person.items():
        found = jackknife_interval(total[name], without[name], bounds=(0.0, 1.0))
        confusion = each.sum(axis=0)
        low, high = float(found.low), float(found.high)
        estimates[name] = Estimate(float(total[name]), low, high, _f1(confusion), confusion, _f1(each))
    one, other = CANDIDATES
    gain = estimates[one].macro_f1 - estimates[other].macro_f1
    tie = abs(gain) <= TIE
    chosen = one if tie or gain > 0 or not forest else other
    said = f"{CANDIDATES[one].capitalize()} minus {CANDIDATES[other]}: {points(gain)} points of macro F1"
    if enough:
        difference = jackknife_interval(total[one] - total[other], without[one] - without[other])
        low, high = float(difference.low), float(difference.high)
        said += f" [{points(low)}, {points(high)}]{', no certain difference' if low <= 0 <= high else ''}"
    asked = "" if forest else ", as the forest was left out of the choice"
    why = [f"{said}{', a tie' if tie else ''}: the {CANDIDATES[chosen]} is taken{asked}."]
    if not enough:
        why.append(
            f"{len(people)} people are too few for an interval ({GROUPS_FOR_INTERVAL} are needed): the next person may "
            "differ much."
        )
    if forest:
        why.append("Its estimate is slightly optimistic, because it was chosen by it.")
    return Choice(chosen, tuple(why), estimates, _table(windows, splits, predicted, estimates))


def _table(
    windows: Windows,
    splits: Sequence[Split],
    predicted: Mapping[str, np.ndarray],
    estimates: Mapping[str, Estimate],
) -> pd.DataFrame:
    y, classes = windows.y, windows.label_names
    assert y is not None
    lines = []
    for split in splits:
        rows = windows.rows_for_subjects(split.test)
        for name, guess in predicted.items():
            line: dict[str, Any]
            f1 = _f1(confusion_matrix(y[rows], guess[rows], labels=range(len(classes))))
            line = {"fold": str(split.fold), "candidate": name, "people": " ".join(split.test)}
            line |= {"n_train": len(y) - len(rows), "n_test": len(rows), "macro_f1": np.nanmean(f1)}
            lines.append(line | {f"f1 {label}": value for label, value in zip(classes, f1, strict=True)})
    for name, found in estimates.items():
        line = {"fold": "all", "candidate": name, "n_test": len(y), "macro_f1": found.macro_f1}
        line |= {"low": found.low, "high": found.high}
        lines.append(line | {f"f1 {label}": value for label, value in zip(classes, found.f1, strict=True)})
    first = ["fold", "candidate", "people", "n_train", "n_test", "macro_f1", "low", "high"]
    table: pd.DataFrame = pd.DataFrame(lines, columns=[*first, *(f"f1 {label}" for label in classes)])
    table[["n_train", "n_test"]] = table[["n_train", "n_test"]].astype("Int64")
    return table
