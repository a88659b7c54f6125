"""What is known of a corpus before its files are opened; the same facts head its reader's docstring."""

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
    """An official file on its server.

    Attributes:
        url: where it lies.
        name: of the file once downloaded.
        bytes: its size, where known.
        sha256: hexadecimal, where known; without it the first download is checked by what else is known, and remembered.
        members: of an archive that has no one hash: name -> sha256 of the official files in it, or in archives inside it;
            a name may leave out folders that come before it.
    """

    url: str
    name: str
    bytes: int | None = None
    sha256: str | None = None
    members: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A corpus: its card, and the function that lists the parts of its official files.

    Args:
        name: what commands and recipes call it.
        title: what people call it.
        subjects: number of people.
        classes: label names of the default placement and subset, in the order of their numbers; empty for an unlabelled
            corpus.
        rate_hz: native rate.
        channels: all that its recordings can have.
        placements: where sensors sit; the first is the default.
        licence: under which terms the data may be used.
        origin: where the official files come from.
        cite: the paper to cite.
        expects: official files, in words, for error messages.
        parts: (source folder or file, or None for where the corpus lives by itself; placement; subset) -> parts. Lists
            files and checks their names; opens none that it need not.
        subsets: official parts of the corpus that can be asked for by name; the first is the default.
        remotes: the official files to download; empty where that cannot be done for the user.
        terms: address of the licence or of the corpus's page.
        companions: (source; placement; subset) -> what lies beside the recordings that `parts` gives, in their order: words,
            pictures, other sensors. None: nothing does. Recordings without a companion are left out.
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
        """The parts of the official files, each of which can be read by itself, also in another process.

        Args:
            source: folder or file; None: where the corpus lives by itself.
            placement: one of `placements`.
            subset: one of `subsets`.
            channels: which, in which order; default all.
            reading: further arguments of `parts`, such as `labels` and `options` of own recordings.

        Raises:
            FileNotFoundError: the official files are not there.
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
        """Yields all recordings, part after part; arguments and errors as `listed`."""
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
