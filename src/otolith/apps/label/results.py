"""Write what is known of a labelled recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from otolith.apps.label.figure import timeline_figure
from otolith.apps.label.page import page
from otolith.apps.label.recording import Labelled
from otolith.storage.files import replacing, write_text

ENDINGS = {
    "timeline": "timeline.csv",
    "summary": "summary.csv",
    "days": "days.csv",
    "hours": "hours.csv",
    "page": "html",
    "picture": "png",
}
"""Endings of the files, by kind; `parquet` adds `timeline.parquet`."""


def write(
    labelled: Labelled,
    folder: Path,
    stem: str,
    *,
    truth: Sequence[tuple[float, float, str]] | None = None,
    parquet: bool = False,
) -> Labelled:
    """Write the files of `ENDINGS`, `<stem>.timeline.csv` and so on, into a folder; return the same with their paths.

    Args:
        labelled: a recording.
        folder: of the files.
        stem: the beginning of their names.
        truth: true labels, for the picture.
        parquet: whether to write the timeline as Parquet too.

    Raises:
        ValueError: Parquet needs a package that is not installed.
    """
    files = {kind: folder / f"{stem}.{ending}" for kind, ending in ENDINGS.items()}
    if parquet:
        files["parquet"] = folder / f"{stem}.timeline.parquet"
        with replacing(files["parquet"]) as part:
            _to_parquet(labelled.timeline, part)
    for kind in ("timeline", "summary", "days", "hours"):
        table = getattr(labelled, kind)
        if table is None:
            files.pop(kind)
            continue
        digits = "%.4f" if kind in ("timeline", "summary") else "%.2f"
        with replacing(files[kind]) as part:
            table.to_csv(part, index=False, float_format=digits, lineterminator="\n")
    write_text(files["page"], page(labelled, files["timeline"].name if "timeline" in files else ""))
    with replacing(files["picture"]) as part:
        timeline_figure(labelled, truth=truth).savefig(part, format="png", dpi=150, pil_kwargs={"compress_level": 3})
    return dataclasses.replace(labelled, files=files)


def document(labelled: Labelled) -> dict[str, Any]:
    """Return a labelled recording as values that JSON can represent, but for paths and NaN."""
    session = labelled.session
    tables = {
        name: _records(table)
        for name in ("timeline", "summary", "days", "hours")
        if (table := getattr(labelled, name)) is not None
    }
    return {
        "recording": str(session.source.path),
        "session": session.name,
        "subject": session.subject,
        "rate_hz": session.rate_hz,
        "seconds": session.seconds,
        "facts": [fact._asdict() for fact in session.facts],
        "warnings": list(labelled.warnings),
        **tables,
        "files": {kind: str(path) for kind, path in labelled.files.items()},
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the lines of a table; dates become text and NaN becomes None."""
    dates = {name: table[name].astype(str) for name in ("start", "end", "day") if name in table}
    if "day" in table and pd.api.types.is_integer_dtype(table["day"]):
        del dates["day"]
    plain = table.assign(**dates).astype(object)
    records: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict(orient="records")
    return records


def _to_parquet(table: pd.DataFrame, path: Path) -> None:
    try:
        table.to_parquet(path, engine="pyarrow", index=False)
    except ImportError as error:
        raise ValueError("--parquet needs pyarrow: pip install 'otolith[tables]'") from error
