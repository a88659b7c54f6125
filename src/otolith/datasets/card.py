"""The card of a corpus: the facts that are known before its files are opened.

The docstring of each reader begins with the same facts.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from otolith.data.multimodal import MultimodalData
from otolith.data.recording import Part, Recording


class Remote(NamedTuple):
    """An official file that can be downloaded.

    Attributes:
        url: address of the file.
        name: name of the downloaded file.
        bytes: size, if known.
        sha256: hexadecimal hash, if known. Without it, the first download is checked by size and members, and its hash
            is recorded.
        members: for an archive without a fixed hash: SHA-256 by name of the official files in it, or in archives inside
            it. A name may omit the leading folders.
    """

    url: str
    name: str
    bytes: int | None = None
    sha256: str | None = None
    members: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A corpus: its card, and the functions that read its official files.

    Args:
        name: name in commands and recipes.
        title: name in text.
        subjects: number of people.
        classes: label names of the default placement and subset, in the order of their numbers; empty for an unlabelled
            corpus.
        rate_hz: native sampling rate.
        channels: all channels that its recordings can have.
        placements: places of the sensors on the body; the first is the default.
        licence: terms of use of the data.
        origin: source of the official files.
        cite: the paper to cite.
        expects: description of the official files, for error messages.
        parts: function of (source, placement, subset) that returns the parts. The source is a folder or file, or None for
            the corpus's default location. It lists files and checks their names, and opens only those that it must.
        subsets: names of the subsets of the corpus that can be read; the first is the default.
        remotes: official files to download; empty if they cannot be downloaded automatically.
        terms: URL of the licence or of the corpus's page.
        store_rate_hz: usual rate of a store: 50 for motion, which has little above 25 Hz.
        multimodal_data: function of (source, placement, subset) that yields the multimodal data (narrations, video, other
            sensors) of the recordings of `parts`, in the same order; recordings without any are skipped. None: the
            corpus has no multimodal data.
    """

    name: str
    title: str
    subjects: int
    classes: tuple[str, ...]
    rate_hz: float
    channels: tuple[str, ...]
    placements: tuple[str, ...]
    licence: str
    origin: str
    cite: str
    expects: str
    parts: Callable[..., list[Part]]
    subsets: tuple[str, ...] = ("all",)
    remotes: tuple[Remote, ...] = ()
    terms: str = ""
    store_rate_hz: float = 50.0
    multimodal_data: Callable[[Path | None, str, str], Iterator[MultimodalData]] | None = None

    def listed(
        self,
        source: Path | None = None,
        *,
        placement: str | None = None,
        subset: str | None = None,
        channels: Sequence[str] | None = None,
        **reading: Any,
    ) -> list[Part]:
        """Return the parts of the official files, each of which can be read independently, also in another process.

        Args:
            source: folder or file; None: the corpus's default location.
            placement: one of `placements`.
            subset: one of `subsets`.
            channels: channels to read, in this order; default: all.
            reading: further arguments of `parts`, such as `labels` and `options` of own recordings.

        Raises:
            FileNotFoundError: the official files are missing.
            ValueError: an unknown placement, subset or channel, or files that are not the official ones.
        """
        allowed = inspect.signature(self.parts).parameters
        if unknown := [name for name in reading if name not in allowed]:
            raise ValueError(f"{self.title} takes no {', '.join(unknown)}; only own recordings do")
        for what, value, known in (
            ("placement", placement, self.placements),
            ("subset", subset, self.subsets),
            *(("channel", channel, self.channels) for channel in channels or ()),
        ):
            if value is not None and value not in known:
                raise ValueError(f"{self.title} has no {what} '{value}'; it has {', '.join(known)}")
        parts = self.parts(source, placement or self.placements[0], subset or self.subsets[0], **reading)
        if channels is None:
            return parts
        return [Part(part.name, partial(_selected, part, tuple(channels))) for part in parts]

    def read(
        self,
        source: Path | None = None,
        *,
        placement: str | None = None,
        subset: str | None = None,
        channels: Sequence[str] | None = None,
    ) -> Iterator[Recording]:
        """Yield all recordings, part by part. Arguments and errors as `listed`."""
        for part in self.listed(source, placement=placement, subset=subset, channels=channels):
            yield from part.read()


def _selected(part: Part, channels: tuple[str, ...]) -> Iterator[Recording]:
    for recording in part.read():
        if missing := [channel for channel in channels if channel not in recording.channels]:
            raise ValueError(
                f"recording '{recording.name}' has no channel {', '.join(missing)}; it has {', '.join(recording.channels)}"
            )
        columns = [recording.channels.index(channel) for channel in channels]
        yield dataclasses.replace(recording, signal=recording.signal[:, columns], channels=channels)
