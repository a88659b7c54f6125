"""Prepare a corpus by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from otolith.data.prepare import PrepareProgress, prepare_iter
from otolith.datasets import find_dataset
from otolith.formats import ReadOptions
from otolith.formats.day import DayOptions
from otolith.storage.engines import Workers
from otolith.storage.files import fingerprint, listing, sha256, unnested


def prepare_dataset(
    name: str,
    source: Path | None,
    data: Path,
    *,
    rate_hz: float | None = None,
    placement: str | None = None,
    subset: str | None = None,
    channels: Sequence[str] | None = None,
    jobs: Workers = 1,
    labels: Path | None = None,
    options: ReadOptions | None = None,
    day: DayOptions | None = None,
) -> Iterator[PrepareProgress]:
    """Prepare a store in `data/name` from official files, part by part; it is complete when the generator is exhausted.

    An interrupted preparation continues where it stopped, if names, sizes and times of the official files have not changed.
    Arguments and errors as `Dataset.listed` and `data.prepare.prepare_iter`; without `rate_hz` the store has the corpus's
    usual rate.
    """
    dataset = find_dataset(name)
    asked = {"labels": labels, "options": options, "day": day}
    reading: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    placement, subset = placement or dataset.placements[0], subset or dataset.subsets[0]
    about = {"title": dataset.title, "licence": dataset.licence, "origin": dataset.origin, "cite": dataset.cite}
    usual = (placement, subset) == (dataset.placements[0], dataset.subsets[0])
    read: list[Any] = [placement, subset, list(channels or dataset.channels), [] if source is None else listing(source)]
    read += (
        [sha256(labels) if labels is not None and labels.is_file() else None, repr(options), repr(day)]
        if reading
        else []
    )
    if labels is not None:
        reading["labels"] = labels.resolve()
    source, data = source and source.resolve(), data.resolve()  # worker processes may have another working directory
    with unnested(source, data / name) as files:
        yield from prepare_iter(
            dataset.listed(files, placement=placement, subset=subset, channels=channels, **reading),
            data / name,
            dataset=name,
            labels=dataset.classes if usual else (),  # other subsets have other classes: those that occur
            rate_hz=dataset.store_rate_hz if rate_hz is None else rate_hz,
            about=about | {"subset": subset},
            source_key=fingerprint(read),
            jobs=jobs,
        )
