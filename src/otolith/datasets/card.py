"""What is known of a corpus before its files are opened; the same facts head its reader's docstring."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from otolith.recording import Recording


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A corpus: its card, and the function that turns its official files into recordings.

    Args:
        name: what commands and recipes call it.
        title: what people call it.
        subjects: number of people.
        classes: label names, in the order of their numbers; empty for an unlabelled corpus.
        rate_hz: native rate.
        channels: what `read` yields.
        placement: where the sensor sits.
        licence: under which terms the data may be used.
        origin: where the official files come from.
        cite: the paper to cite.
        read: source folder or file (None: where the corpus lives by itself) -> recordings, one after another.
        expects: official files, in words, for error messages.
    """

    name: str
    title: str
    subjects: int
    classes: tuple[str, ...]
    rate_hz: float
    channels: tuple[str, ...]
    placement: str
    licence: str
    origin: str
    cite: str
    expects: str
    read: Callable[[Path | None], Iterator[Recording]]
