"""Which columns of a table are its clock, its accelerometer and its gyroscope."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

from otolith.formats.clock_columns import Clock, find_clocks
from otolith.formats.layout import Layout
from otolith.formats.mixed import mixing_column
from otolith.formats.names import (
    Name,
    fold,
    is_counter,
    kind_of,
    kind_of_cell,
    tokens,
    understand,
    unit_word,
)
from otolith.formats.options import Fact, ReadOptions
from otolith.formats.sensor_words import Kind
from otolith.formats.unnamed import Triple, unnamed, unnamed_axes

_SUBJECT = frozenset(
    [
        "subject",
        "subjects",
        "participant",
        "person",
        "user",
        "volunteer",
        "patient",
        "pid",
        "subj",
        "proband",
        "rider",
        "athlete",
    ]
)
_DEVICE = frozenset(
    ["device", "devices", "serial", "mac", "placement", "bodypart", "limb", "sensorid", "deviceid", "imei"]
)


_PACKED = re.compile(r"[\[({]?\s*-?\d*\.?\d+(?:\s*[,; ]\s*-?\d*\.\d+){2,}")


class Columns(NamedTuple):
    """What the columns of a table are.

    Attributes:
        clocks: columns of time stamps; two belong together if one holds dates and the other times of day.
        counter: place of a column that counts rows, for a table without a clock.
        acc: the accelerometer.
        gyro: the gyroscope.
        gravity: to add to an acceleration from which gravity was removed.
        subject: place of the column of people.
        device: place of the column of devices.
        kinds: place of a column that names the sensor of each row, in tables with a row per sensor.
        facts: what was decided.
        unused: other sensors of the same kinds, as text.
    """

    clocks: tuple[Clock, ...]
    counter: int | None
    acc: Triple | None
    gyro: Triple | None
    gravity: Triple | None
    subject: int | None
    device: int | None
    kinds: int | None
    facts: tuple[Fact, ...]
    unused: tuple[str, ...] = ()


def find_columns(
    layout: Layout, options: ReadOptions, *, file: str, kind: Kind = "", gyro: bool | None = None
) -> Columns:
    """Find the columns of a table.

    Args:
        layout: of the table.
        options: name columns that are taken as they are.
        file: name of the table, for messages.
        kind: sensor that the file's name says, for columns whose names say none.
        gyro: True requires a gyroscope that can be told, False leaves it out.

    Raises:
        ValueError: no three columns are the accelerometer's or the gyroscope's, or several may be; the message lists them.
    """
    names, place = [understand(name) for name in layout.names], _Places(layout, file)
    triples = _triples(layout, names)
    clocks = find_clocks(layout, options, place.of)
    taken = {clock.place for clock in clocks}
    acc = _given(options.acc, "acc", place, layout)
    gravity = _given(options.gravity, "gravity", place, layout)
    gyroscope = _given(options.gyro, "gyro", place, layout)
    subject, device, kinds = _groups(layout, options, place, taken)
    _once(options, place)
    unused: list[str] = []
    guess = options.acc is None
    if acc is None and layout.named:
        acc, gravity_here, others = _accelerometer(triples, options, file, kind)
        gravity, unused = gravity or gravity_here, others
    elif acc is None and kind not in ("gyro", "gravity"):
        taken |= {p for p in (subject, device, kinds) if p is not None}
        acc, unnamed_gyro = unnamed(layout, file, taken)
        gyroscope = gyroscope or unnamed_gyro
    elif not layout.named and kind == "gyro":
        gyroscope = gyroscope or unnamed_axes(layout, "gyro", taken)
    elif not layout.named and kind == "gravity":
        gravity = gravity or unnamed_axes(layout, "gravity", taken)
    if gyroscope is None and gyro is not False and layout.named:
        gyroscope, others = _gyroscope(triples, acc, options, file, kind, needed=gyro is True)
        unused += others
    if gyro is False and options.gyro is None:
        gyroscope = None
    if acc is None and gyroscope is None and gravity is None:
        _refuse(layout, triples, file)
    counter = (
        None if clocks else next((k for k, name in enumerate(layout.names) if layout.named and is_counter(name)), None)
    )
    axes = {p for t in (acc, gyroscope, gravity) if t for p in t.places}
    if options.time is not None and (both := [clock.name for clock in clocks if clock.place in axes]):
        raise ValueError(
            f"'{file}': --time names {both[0]}, which is an axis of {acc or gyroscope}; pass --acc X,Y,Z too"
        )
    clocks = [clock for clock in clocks if clock.place not in axes]
    sensor = acc or gyroscope or gravity
    if subject is None and device is None and kinds is None and sensor is not None:
        used = axes | {clock.place for clock in clocks}
        free = [k for k in range(len(layout.names)) if k not in used]
        whole = [clock.place for clock in clocks if not clock.part]
        device = mixing_column(layout, whole, sensor.places, free)
    facts = _facts(clocks, acc, gyroscope, gravity, unused, guess)
    return Columns(tuple(clocks), counter, acc, gyroscope, gravity, subject, device, kinds, tuple(facts), tuple(unused))


def _facts(
    clocks: Sequence[Clock],
    acc: Triple | None,
    gyro: Triple | None,
    gravity: Triple | None,
    unused: Sequence[str],
    guess: bool,
) -> list[Fact]:
    said = [f"time stamps {' and '.join(clock.name for clock in clocks)}" if clocks else "no time column"]
    said += [f"acceleration {acc}"] if acc else []
    said += [f"gravity {gravity}, to be added"] if gravity else []
    said += [f"angular rate {gyro}"] if gyro else []
    facts = [Fact("columns", f"columns: {'; '.join(said)}", guess, "--time, --acc, --gyro")]
    if unused:
        facts.append(Fact("columns", f"columns: not used: {'; '.join(unused)}", guess, "--sensor or --acc X,Y,Z"))
    return facts


class _Places:
    """Finds columns by name or number."""

    def __init__(self, layout: Layout, file: str) -> None:
        self.names, self.named, self.file = layout.names, layout.named, file

    def of(self, name: str) -> int:
        wanted = name.strip()
        for alike in (lambda a: a == wanted, lambda a: fold(a) == fold(wanted)):
            found = [k for k, have in enumerate(self.names) if alike(have.strip())]
            if found:
                return found[0]
        if wanted.isdigit() and int(wanted) < len(self.names):
            return int(wanted)
        near = difflib.get_close_matches(wanted, self.names, 1)
        hint = f"; is it '{near[0]}'?" if near else ""
        raise ValueError(f"'{self.file}': no column '{name}'; the file has: {', '.join(self.names)}{hint}")


def _once(options: ReadOptions, place: _Places) -> None:
    """Check that no column is given two meanings."""
    given = {
        "--time": (options.time,) if options.time in place.names else tuple((options.time or "").split(",")),
        "--acc": options.acc or (),
        "--gyro": options.gyro or (),
        "--gravity": options.gravity or (),
        "--subject-column": (options.subject_column,),
        "--device-column": (options.device_column,),
    }
    met: dict[int, str] = {}
    for option, names in given.items():
        for k in {place.of(name) for name in names if name}:
            if (other := met.setdefault(k, option)) != option:
                raise ValueError(f"'{place.file}': {other} and {option} both name the column {place.names[k]}")


def _given(chosen: tuple[str, ...] | None, kind: Kind, place: _Places, layout: Layout) -> Triple | None:
    if chosen is None:
        return None
    places = tuple(place.of(name) for name in chosen)
    if len(set(places)) < 3:
        raise ValueError(f"'{place.file}': --{kind} names a column twice: {', '.join(chosen)}; expected three: x,y,z")
    names = tuple(layout.names[k] for k in places)
    unit = understand(names[0]).unit or layout.units[places[0]]
    said = understand(names[0]).kind
    if kind == "acc" and said in ("linear", "gyro"):
        kind = "linear" if said == "linear" else kind
    return Triple((places[0], places[1], places[2]), (names[0], names[1], names[2]), kind, (), unit)


def _triples(layout: Layout, names: Sequence[Name]) -> list[Triple]:
    """Three columns each whose names differ in the axis alone, in order of their first column."""
    groups: dict[tuple[object, ...], dict[int, int]] = {}
    for k, name in enumerate(names):
        if name.axis is not None:
            base, _, suffix = layout.names[k].rpartition(".")
            suffix = suffix if suffix.isdigit() and base in layout.names else ""
            axes = groups.setdefault(
                (name.kind, name.key, name.numbered, suffix if name.key[-1:] != (suffix,) else ""), {}
            )
            axes.setdefault(name.axis, k)
    found = []
    for (_, key, _, _), axes in groups.items():
        if len(axes) != 3:
            continue
        places = tuple(axes[axis] for axis in sorted(axes))
        unit = names[places[0]].unit or layout.units[places[0]]
        kind: Kind = names[places[0]].kind
        if kind in ("", "g") and unit:
            kind = "gyro" if unit_word(unit, "gyro") else "acc" if unit_word(unit, "acc") else kind
        assert isinstance(key, tuple)
        named = tuple(layout.names[place] for place in places)
        found.append(Triple((places[0], places[1], places[2]), (named[0], named[1], named[2]), kind, key, unit))
    return sorted(found, key=lambda triple: min(triple.places))


def _chosen(triples: list[Triple], sensor: str | None) -> list[Triple]:
    """The triples whose names contain the sensor's."""
    if sensor is None:
        return triples
    wanted = fold(sensor)
    return [t for t in triples if wanted in fold(" ".join(t.names)) or all(w in t.key for w in tokens(sensor))]


_WORSE = frozenset(["raw", "uncalibrated", "uncal"])


def _one(triples: list[Triple]) -> list[Triple]:
    """Leave raw values out where calibrated ones are there."""
    better = [t for t in triples if not set(t.key) & _WORSE and unit_word(t.unit, "acc") != "raw"]
    return better if better and len(better) < len(triples) else triples


def _accelerometer(
    triples: list[Triple], options: ReadOptions, file: str, kind: Kind
) -> tuple[Triple | None, Triple | None, list[str]]:
    """The accelerometer, gravity to be added to it, and other accelerometers."""
    mine = _chosen(triples, options.sensor)
    if options.sensor is not None and not mine:
        raise ValueError(
            f"'{file}': no sensor '{options.sensor}'; the sensors are: {'; '.join(str(t) for t in triples) or 'none'}"
        )
    total = _one([t for t in mine if t.kind == "acc"])
    linear = _one([t for t in mine if t.kind == "linear"])
    gravity = [t for t in mine if t.kind == "gravity"]
    plain = [t for t in mine if t.kind == ""]
    if not total and not linear and kind not in ("gyro", "gravity", "other"):
        g_alone = [t for t in mine if t.kind == "g"]
        total = plain if plain else g_alone
        if kind == "linear":
            total, linear = [], total
    if len(total) > 1:
        listed = "; ".join(f"{t}" for t in total)
        raise ValueError(
            f"'{file}' has several accelerometers: {listed}; choose one with --sensor {_word_apart(total)} or --acc "
            "X,Y,Z"
        )
    if total:
        return total[0], None, [str(t) for t in triples if t.kind in ("acc", "linear") and t != total[0]]
    if linear:
        if len(linear) > 1:
            listed = "; ".join(str(t) for t in linear)
            raise ValueError(f"'{file}' has several accelerometers: {listed}; choose one with --acc X,Y,Z")
        return linear[0], gravity[0] if len(gravity) == 1 else None, []
    if kind == "gravity" and (gravity or plain):
        return None, (gravity or plain)[0], []
    return None, None, []


def _word_apart(triples: Sequence[Triple]) -> str:
    """A word that tells a sensor from the others."""
    first = set(triples[0].key) - set().union(*(set(t.key) for t in triples[1:]))
    return next((word for word in triples[0].key if word in first and word != "*"), "NAME")


def _gyroscope(
    triples: list[Triple], acc: Triple | None, options: ReadOptions, file: str, kind: Kind, *, needed: bool
) -> tuple[Triple | None, list[str]]:
    """The gyroscope of the same sensor as the accelerometer, and the others."""
    mine = _one([t for t in _chosen(triples, options.sensor) if t.kind == "gyro"])
    if not mine and (acc is None or acc.kind != "g"):
        mine = [t for t in _chosen(triples, options.sensor) if t.kind == "g"]
    if not mine and kind == "gyro":
        mine = [t for t in triples if t.kind == ""]
    if len(mine) > 1 and acc is not None:
        places = set(_place_words(acc))
        alike = [t for t in mine if set(_place_words(t)) == places]
        mine = alike or mine
    if len(mine) > 1:
        if needed:
            listed = "; ".join(str(t) for t in mine)
            raise ValueError(f"'{file}' has several gyroscopes: {listed}; choose one with --sensor or --gyro X,Y,Z")
        return None, [str(t) for t in mine]
    return (mine[0], []) if mine else (None, [])


def _place_words(triple: Triple) -> list[str]:
    """The words of a sensor's name that do not name its kind."""
    return [
        w
        for w in triple.key
        if w != "*" and kind_of([w]) == "" and w not in ("rate", "velocity", "angular", "ln", "wr")
    ]


def _groups(
    layout: Layout, options: ReadOptions, place: _Places, taken: set[int]
) -> tuple[int | None, int | None, int | None]:
    """The columns that name the person, the device and the sensor of each row."""
    subject = None if options.subject_column is None else place.of(options.subject_column)
    device = None if options.device_column is None else place.of(options.device_column)
    kinds = None
    for k, name in enumerate(layout.names if layout.named else ()):
        words = set(tokens(name))
        cells = {row[k] for row in layout.sample if k < len(row) and row[k]}
        if k in taken or not cells or understand(name).axis is not None:
            continue
        if len(cells) <= 12 and {"acc", "gyro"} <= {kind_of_cell(cell, name) for cell in cells}:
            kinds = k
        elif subject is None and words & _SUBJECT and not words & {"age", "height", "weight", "gender", "acceleration"}:
            subject = k
        elif device is None and words & _DEVICE and not words & {"time", "timestamp", "temperature"}:
            device = k
    return subject, device, kinds


def _refuse(layout: Layout, triples: Sequence[Triple], file: str) -> None:
    packed = next((c for row in layout.sample[:5] for c in row if _PACKED.match(c)), None)
    if packed is not None:
        raise ValueError(
            f"'{file}': a cell holds several numbers, such as '{packed[:40]}'; write each axis in a column of its own"
        )
    several = f"; sensors with three axes: {'; '.join(map(str, triples))}" if triples else ""
    raise ValueError(
        f"'{file}': cannot tell which columns are the accelerometer's; the file has: "
        f"{', '.join(layout.names)}{several}; "
        "pass --acc X,Y,Z"
    )
