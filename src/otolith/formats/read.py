"""Recordings of motion, of any vendor and layout -> sessions in g and rad/s.

`survey` looks at all files first, so that what is true of a device (units, gravity) is decided once; then each source is
read on its own.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Recording
from otolith.data.resample import regular_pieces
from otolith.formats.gaps import Masks, Missing, masks, missing
from otolith.formats.options import DEFAULTS, Fact, ReadOptions
from otolith.formats.recorders import STATED, read_recorder
from otolith.formats.sources import Skipped, Source, find_sources
from otolith.formats.streams import Opened, Raw, RawFile, open_source, read_source, unit_words
from otolith.formats.units import WINDOW_S, Measures, Units, decide, measure

_LOOK_ROWS = 200_000
_KEPT_ROWS = 1_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Session:
    """Rows of one person and device between two restarts of a clock.

    Attributes:
        name: the source's; with the person, the device, and the restart's number, where it holds several.
        source: what it was read from.
        subject: as a column of the table names it; empty without one.
        recordings: stretches without a gap, in order; each has its `start_s` in the session.
        start: date and time of the first row; None where the file has no dates.
        seconds: from the first to the last row.
        rate_hz: time steps per second.
        channels: of the recordings.
        facts: how the source was read.
        missing: stretches without data, and why.
    """

    name: str
    source: Source
    subject: str
    recordings: tuple[Recording, ...]
    start: datetime.datetime | None
    seconds: float
    rate_hz: float
    channels: tuple[str, ...]
    facts: tuple[Fact, ...]
    missing: tuple[Missing, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """Sources that were looked at, and what is true of their devices. It pickles, so that processes can share the reading.

    Attributes:
        sources: what can be read.
        options: of the user.
        gyro: whether a gyroscope is read: True, False, or None for where there is one.
        units: of each source, by its name.
        skipped: files that are no recordings, or cannot be read.
    """

    sources: tuple[Source, ...]
    options: ReadOptions
    gyro: bool | None
    units: Mapping[str, Units]
    skipped: tuple[Skipped, ...]
    _opened: Mapping[str, list[Opened]] = dataclasses.field(default_factory=dict, repr=False)
    _raw: dict[str, RawFile] = dataclasses.field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, object]:
        """Leave out rows that were kept."""
        return {**self.__dict__, "_raw": {}}

    def read(self, source: Source) -> list[Session]:
        """Read the sessions of a source.

        Raises:
            ValueError: it cannot be understood; the message names the file and the option that helps.
        """
        raw = self._raw.pop(source.name, None)
        if source.kind != "table":
            raw = read_recorder(source, gyro=self.gyro)
        elif raw is None:
            opened = self._opened.get(source.name) or open_source(source, self.options, gyro=self.gyro)
            raw = read_source(source, opened, self.options)
        units = self.units.get(source.name, STATED)
        facts = (*raw.facts, *units.facts)
        found = [_session(source, one, raw.sessions, units, facts, self.options) for one in raw.sessions]
        if not any(session.recordings for session in found):
            reasons = ", ".join(sorted({gap.reason for session in found for gap in session.missing})) or "no rows"
            raise ValueError(f"'{source.name}': no row holds motion ({reasons})")
        return found

    def sessions(self) -> Iterator[Session]:
        """Read all sources, one after the other."""
        for source in self.sources:
            yield from self.read(source)


def survey(
    paths: Sequence[Path],
    options: ReadOptions = DEFAULTS,
    *,
    gyro: bool | None = None,
    known: Units | None = None,
    exclude: Collection[Path] = (),
) -> Survey:
    """Look at files and folders: which are recordings, in which layouts and units.

    Args:
        paths: files and folders.
        options: of the user.
        gyro: True requires a gyroscope, False leaves it out, None reads it where there is one.
        known: units that the recordings of a model had; they are assumed where a header states none.
        exclude: files that are no recordings, such as a labels file.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no recording.
        ValueError: no recording can be understood, or the units of several contradict each other.
    """
    sources, skipped = find_sources(paths, exclude=exclude, gyro=gyro, max_bytes=options.max_bytes)
    return survey_sources(sources, options, gyro=gyro, known=known, skipped=skipped)


def survey_sources(
    sources: Sequence[Source],
    options: ReadOptions = DEFAULTS,
    *,
    gyro: bool | None = None,
    known: Units | None = None,
    skipped: Sequence[Skipped] = (),
) -> Survey:
    """Look at sources that `find_sources` found; arguments and errors as `survey`."""
    opened: dict[str, list[Opened]] = {}
    left = list(skipped)
    kept: list[Source] = []
    first_error: ValueError | None = None
    for source in sources:
        try:
            if source.members:
                opened[source.name] = open_source(source, options, gyro=gyro)
            kept.append(source)
        except ValueError as error:
            if (source.explicit and len(sources) == 1) or "several" in str(error):
                raise
            first_error = first_error or error
            left.append(Skipped(source.path, str(error), source.explicit))
    if not kept and first_error is not None:
        raise ValueError(f"no recording can be read; the first error: {first_error}") from first_error
    raw: dict[str, RawFile] = {}
    measured = _measured(kept, opened, options, raw)
    units = _units(kept, opened, measured, options, known)
    return Survey(tuple(kept), options, gyro, units, tuple(left), opened, raw)


def read_sessions(
    paths: Sequence[Path],
    options: ReadOptions = DEFAULTS,
    *,
    gyro: bool | None = None,
    known: Units | None = None,
    exclude: Collection[Path] = (),
) -> list[Session]:
    """Read files and folders of recordings. Arguments and errors as `survey`.

    Returns:
        The sessions of each source in order; one per restart of a clock, person and device.
    """
    return list(survey(paths, options, gyro=gyro, known=known, exclude=exclude).sessions())


def _measured(
    sources: Sequence[Source], opened: Mapping[str, list[Opened]], options: ReadOptions, raw: dict[str, RawFile]
) -> dict[str, Measures]:
    """Measures of each source's first rows; of a single source, of all."""
    found: dict[str, Measures] = {}
    alone = len(sources) == 1
    rows = 0
    for source in sources:
        if not source.members:
            continue
        one = read_source(source, opened[source.name], options, max_rows=None if alone else _LOOK_ROWS)
        parts = [m for s in one.sessions if (m := measure(s.signal, s.rate_hz)) is not None]
        if not parts:
            raise ValueError(f"'{source.name}': no row holds numbers in all columns of motion, or all are zeros")
        longest = max(range(len(one.sessions)), key=lambda k: len(one.sessions[k].seconds))
        main = measure(one.sessions[longest].signal, one.sessions[longest].rate_hz)
        found[source.name] = main if main is not None else parts[0]
        if options.device_column is None:
            _same_sensor(source.name, one.sessions, found[source.name])
        rows += sum(len(session.seconds) for session in one.sessions)
        if one.whole and (alone or rows < _KEPT_ROWS):
            raw[source.name] = one
    return found


def _same_sensor(name: str, sessions: Sequence[Raw], main: Measures) -> None:
    """Check that rows which a column sets apart are of accelerometers all.

    Raises:
        ValueError: some have no gravity, and the others have.
    """
    for session in sessions if main.ratio >= 0.6 else ():
        other = measure(session.signal, session.rate_hz) if session.device else None
        if other is not None and other.ratio < 0.35:
            raise ValueError(
                f"'{name}': rows with '{session.device}' have no gravity (mean over {WINDOW_S:g} s {other.ratio:.2f} of "
                "their median size), and the others have: they are of a gyroscope or another sensor; keep the "
                "accelerometer's rows, or name the devices' column with --device-column"
            )


def _units(
    sources: Sequence[Source],
    opened: Mapping[str, list[Opened]],
    measured: Mapping[str, Measures],
    options: ReadOptions,
    known: Units | None,
) -> dict[str, Units]:
    """Units of each source; files with the same columns are of the same device."""
    devices: dict[tuple[object, ...], list[str]] = {}
    for source in sources:
        if source.members:
            first = [
                (one.layout.names, one.layout.units, one.layout.start_and_rate is None) for one in opened[source.name]
            ]
            kind = tuple(member.part for member in source.members)
            devices.setdefault((*first, kind), []).append(source.name)
    found: dict[str, Units] = {}
    for names in devices.values():
        tables = opened[names[0]]
        acc, gyro, hint, removed = unit_words(tables)
        if tables[0].layout.start_and_rate is not None and not acc and options.acc_unit is None:
            acc = "g/64"  # Empatica E4 writes 1/64 g
        shown = [str(opened[name][0].member.table) for name in names]
        measures = [(text, measured[name]) for text, name in zip(shown, names, strict=True)]
        decided = decide(measures, options, acc_words=acc, gyro_words=gyro, hint=hint, removed=removed, known=known)
        found |= dict.fromkeys(names, decided)
    return found


def _session(
    source: Source, raw: Raw, among: Sequence[Raw], units: Units, facts: tuple[Fact, ...], options: ReadOptions
) -> Session:
    """A session in g and rad/s, cut where data are missing."""
    channels = ACCELEROMETER + (GYROSCOPE if raw.signal.shape[1] == 6 else ())
    signal, factors = raw.signal, units.factors(len(channels))
    if not signal.flags.writeable:
        signal = signal.copy()
    if (factors != 1).any():
        signal *= factors  # in place: the raw values are not needed any more
    lacking = masks(signal, raw.rate_hz)
    signal[lacking.all] = np.nan
    pieces = regular_pieces(raw.seconds, signal, raw.rate_hz, options.max_gap_s)
    several = [len({getattr(one, field) for one in among}) > 1 for field in ("subject", "device")]
    parts = [
        raw.subject if several[0] else "",
        raw.device if several[1] else "",
        str(raw.number) if raw.number > 1 else "",
    ]
    name = "-".join([source.name, *(part for part in parts if part)])
    recordings = tuple(
        Recording(
            name=f"{name}/{number}",
            signal=piece.signal,
            rate_hz=raw.rate_hz,
            channels=channels,
            subject=raw.subject.replace(":", "_") or source.name.replace(":", "_"),
            placement="own",
            start_s=piece.start_s,
            start=raw.start,
            session=name,
            facts=facts,
        )
        for number, piece in enumerate(pieces)
    )
    end_s = float(raw.seconds[-1]) + 1 / raw.rate_hz
    extents = [(piece.start_s, piece.start_s + len(piece.signal) / raw.rate_hz) for piece in pieces]
    gaps = missing(extents, raw.seconds, lacking, end_s, options.max_gap_s)
    said = (*facts, *_gap_facts(lacking, pieces_count=len(pieces), options=options))
    return Session(name, source, raw.subject, recordings, raw.start, end_s, raw.rate_hz, channels, said, gaps)


def _gap_facts(lacking: Masks, *, pieces_count: int, options: ReadOptions) -> list[Fact]:
    rows = len(lacking.empty)
    facts = []
    for mask, text in (
        (lacking.empty, "hold no number somewhere and count as missing"),
        (lacking.impossible, "hold values beyond 100 g or 200 rad/s and count as missing"),
        (lacking.zero, "hold zeros in all axes of the acceleration, as idle sensors and lost packets do: no data"),
        (lacking.held, "hold the same values for 2 s or longer, as idle or stuck sensors do: no data"),
    ):
        if count := int(mask.sum()):
            facts.append(Fact("missing", f"missing: {count:,} of {rows:,} rows {text}", True))
    if pieces_count > 1:
        facts.append(
            Fact(
                "missing",
                f"missing: {pieces_count - 1} gaps longer than {options.max_gap_s:g} s split the recording",
                False,
                "--max-gap",
            )
        )
    return facts
