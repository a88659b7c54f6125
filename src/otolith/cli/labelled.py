"""Label recordings with a progress bar, and show what was found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from otolith.cli.console import escape, notes, put_json, results, warn
from otolith.cli.progress import progress

if TYPE_CHECKING:
    from otolith.apps.label import LabelOptions
    from otolith.classifiers.baselines import ForestClassifier
    from otolith.classifiers.transfer import TransferClassifier
    from otolith.cli.options import EngineOptions
    from otolith.formats import ReadOptions


def show_recordings(
    model: TransferClassifier | ForestClassifier,
    model_hash: str,
    files: list[Path],
    folder: Path | None,
    reading: ReadOptions,
    *,
    how: LabelOptions,
    engine: EngineOptions,
    as_json: bool = False,
) -> None:
    """Label recordings, and show what was read of each, its summary by label and its files; with `as_json` also as JSON.

    Raises:
        ValueError: a recording cannot be understood or labelled; the others are labelled first.
    """
    from otolith.apps.label import label_files, survey_for

    found = survey_for(model, files, reading)
    for skipped in found.skipped:
        if skipped.unreadable:
            continue  # an error, which is shown at the end
        notes.print(f"not a recording: {skipped.path}: {skipped.reason}", highlight=False, markup=False)
    ended: dict[str, tuple[dict[str, Any], ...]] = {}
    wrong = [skipped.reason for skipped in found.skipped if skipped.unreadable]
    before = 0
    with engine.workers() as workers, progress("labelling") as bar:
        for one in label_files(model, model_hash, found, files, folder, how=how, jobs=workers):
            bar.update(f"labelled {one.source}", one.done, one.of)
            before += one.again
            if one.error:
                wrong.append(one.error)
            else:
                ended[one.source] = one.recordings
    if before:
        notes.print(f"{before} of {len(found.sources)} were labelled before, with the same model and options: kept")
    order = [source.name for source in found.sources if source.name in ended]
    documents = [each for name in order for each in ended[name]]
    shown: set[str] = set()
    for each in documents:
        _show_facts(each, shown, alone=len(found.sources) == 1)
        show_labelled(each, as_json=as_json)
    if as_json:
        put_json({"recordings": documents, "skipped": [{"file": s.path, "reason": s.reason} for s in found.skipped]})
    count = len(found.sources) + sum(skipped.unreadable for skipped in found.skipped)
    if wrong and count == 1:
        raise ValueError(wrong[0])
    if wrong:
        raise ValueError(f"{len(wrong)} of {count} recordings cannot be labelled; the first: {wrong[0]}")


def _show_facts(document: dict[str, Any], shown: set[str], *, alone: bool) -> None:
    """Show the facts of a recording that were not shown for another; numbers aside, many are alike."""
    from otolith.formats import Fact

    for each in document["facts"]:
        fact = Fact(**each)
        pattern = re.sub(r"\d[\d.,]*", "#", fact.text)
        if pattern not in shown:
            shown.add(pattern)
            text = str(fact) if alone else f"{document['session']}: {fact}"
            notes.print(text, highlight=False, markup=False, soft_wrap=True)


def show_labelled(document: dict[str, Any], *, as_json: bool = False) -> None:
    """Show a recording's warnings, its summary by label and its files."""
    screen = results(as_json)
    for warning in document["warnings"]:
        warn(warning)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("label", "time", "share", "bouts", "mean probability"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for line in document["summary"]:
        if line["seconds"] > 0:
            known, likely = line["label"] != "", line["probability"]
            table.add_row(
                escape(line["label"] or "(not labelled)"),
                _duration(line["seconds"]),
                f"{100 * line['share']:.0f} %" if known else "",
                str(int(line["bouts"])),
                f"{likely:.2f}" if likely is not None else "",
            )
    screen.print(table)
    screen.print("\n".join(document["files"].values()), highlight=False, markup=False)


def _duration(seconds: float) -> str:
    """Return a duration as text: seconds up to an hour, then hours and minutes."""
    if seconds < 3600:
        return f"{seconds:,.1f} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
