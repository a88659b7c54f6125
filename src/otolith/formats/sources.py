"""Files and folders -> sources: what becomes sessions. Files that hold a sensor each of one device make one source."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from otolith.formats.sensor_words import Kind
from otolith.formats.source import Table, is_result, may_be_table, role, stem, tables_in, without_others

VIDEO = ".mp4"
"""Ending of videos whose camera wrote its motion into them (GoPro)."""

DEVICES = (".cwa", ".gt3x", ".bin")
"""Endings of device files; their first bytes decide."""

Part = Literal["", "acc", "linear", "gyro", "gravity"]
"""Which sensor a table holds; "" where its name does not say."""


class Member(NamedTuple):
    """A table of a source."""

    table: Table
    part: Part


@dataclasses.dataclass(frozen=True)
class Source:
    """What becomes one or several sessions.

    Attributes:
        name: relative to the folder that was given, without ending, for example `anna/walk`.
        path: of its first file.
        members: its tables; empty for a video.
        aliases: other names that a labels file may use: those of its files, with and without ending.
        ignored: names of files of other sensors.
        explicit: whether the user named the file, and not its folder.
        kind: a table, or a file of a camera or device, which has no members.
    """

    name: str
    path: Path
    members: tuple[Member, ...]
    aliases: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    explicit: bool = False
    kind: Literal["table", "video", "device"] = "table"


class Skipped(NamedTuple):
    """A file that is not read, and why.

    Attributes:
        path: of the file.
        reason: in words.
        unreadable: whether the user named it as a recording, so that this is an error.
    """

    path: Path
    reason: str
    unreadable: bool = False


class _File(NamedTuple):
    table: Table
    folder: str  # relative; of a table in an archive, with the archive
    relative: str  # of the file or member, with ending
    kind: Kind
    quality: str
    words: tuple[str, ...]


def find_sources(
    paths: Sequence[Path],
    *,
    exclude: Collection[Path] = (),
    gyro: bool | None = None,
    max_bytes: int | None = None,
) -> tuple[list[Source], list[Skipped]]:
    """Find what is to be read.

    Args:
        paths: files and folders; folders are searched to any depth, hidden files are left out. What is given twice, or lies
            in a folder that is given too, is read once.
        exclude: files that are no recordings, such as a labels file.
        gyro: True joins the gyroscope's file that lies next to a file named by the user.
        max_bytes: the largest uncompressed size of a workbook.

    Returns:
        The sources in order, and the files that were left out.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no table.
        ValueError: a file named by the user holds no table.
    """
    paths = _once(paths)
    sources, skipped = _explicit([path for path in paths if not path.is_dir()], gyro, max_bytes)
    for folder in (path for path in paths if path.is_dir()):
        found, left = _in_folder(folder, {path.resolve() for path in exclude}, max_bytes)
        if not found:
            held = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
            raise FileNotFoundError(
                f"the folder '{folder}' holds no recording; expected tables (.csv, .txt, .parquet, .xlsx, .zip, .gz) "
                "or GoPro "
                f"clips (.mp4); found {held}"
            )
        sources += found
        skipped += left
    return _distinct(sources), skipped


def _once(paths: Sequence[Path]) -> list[Path]:
    """The paths without those that are given before, or lie in a folder that is given."""
    folders = {path.resolve() for path in paths if path.is_dir()}
    kept: dict[Path, Path] = {}
    for path in paths:
        place = path.resolve()
        if not folders & set(place.parents):
            kept.setdefault(place, path)
    return list(kept.values())


def _distinct(sources: Sequence[Source]) -> list[Source]:
    """The sources, with names that differ: two files of one stem keep their endings, or their folder's name."""
    met = Counter(source.name for source in sources)
    found = []
    taken: set[str] = set()
    for source in sources:
        name = source.name
        if met[name] > 1:
            name = str(PurePosixPath(name).with_name(source.path.name))
        if name in taken:
            name = f"{source.path.resolve().parent.name}/{name}".lstrip("/")
        while name in taken:
            name += "+"
        taken.add(name)
        found.append(dataclasses.replace(source, name=name))
    return found


def _explicit(paths: Sequence[Path], gyro: bool | None, max_bytes: int | None) -> tuple[list[Source], list[Skipped]]:
    """Sources of files that the user named: files of one folder that are parts of one recording are joined."""
    files: list[_File] = []
    sources: list[Source] = []
    skipped: list[Skipped] = []
    for path in paths:
        if is_result(path):
            reason = f"'{path.name}' is a result of Otolith and no recording; give the recording that it was made of"
            if len(paths) == 1:
                raise ValueError(reason)
            skipped.append(Skipped(path, reason))
            continue
        if path.is_file() and (recorded := _recorder(path, path.name)) is not None:
            sources.append(dataclasses.replace(recorded, explicit=True))
            continue
        tables = tables_in(path, max_bytes)
        mine = [_file(table, path.name, stem(path.name), len(tables)) for table in tables]
        if len(tables) > 1:
            inside = _grouped(mine, whole=stem(path.name))
            sources += inside.sources
            skipped += inside.skipped
        else:
            files += mine
    grouped: dict[Path, list[_File]] = {}
    for file in files:
        grouped.setdefault(file.table.path.parent, []).append(file)
    for folder, mine in grouped.items():
        for source in _grouped(mine, whole="").sources:
            joined = _with_neighbour(source, folder) if gyro else source
            sources.append(dataclasses.replace(joined, explicit=True))
    if not sources and skipped:
        raise ValueError(skipped[0].reason)
    order = {path: number for number, path in enumerate(paths)}
    return sorted(sources, key=lambda source: order.get(source.path, len(order))), skipped


def _recorder(path: Path, relative: str) -> Source | None:
    """The source of a video or device file; None for other files."""
    from otolith.formats.devices import device_kind

    if path.suffix.lower() == VIDEO:
        return Source(stem(relative), path, (), (relative,), kind="video")
    if device_kind(path) is not None:
        return Source(stem(relative), path, (), (relative,), kind="device")
    return None


def _with_neighbour(source: Source, folder: Path) -> Source:
    """The source, with the gyroscope's file that lies next to its own."""
    if len(source.members) != 1 or source.members[0].part == "gyro":
        return source
    own = source.members[0].table
    _, _, words = role(own.path.name)
    if role(own.path.name)[0] not in ("acc", "linear"):
        return source
    for path in sorted(folder.iterdir()):
        if path.is_file() and path != own.path and may_be_table(path.name):
            kind, quality, others = role(path.name)
            if kind == "gyro" and others == words and quality != "uncalibrated":
                members = (*source.members, Member(Table(path), "gyro"))
                return dataclasses.replace(source, members=members)
    return source


def _file(table: Table, relative: str, folder: str, count: int) -> _File:
    name = PurePosixPath(table.member or table.path.name).name
    kind, quality, words = role(name)
    if table.member and count == 1:
        kind = kind if kind in ("acc", "gyro", "linear", "gravity") else ""
        return _File(table, "", relative, kind, quality, words)
    if table.member:
        inner = PurePosixPath(table.member).parent.as_posix()
        place = folder if inner == "." else f"{folder}/{inner}"
        return _File(table, place, f"{folder}/{table.member}", kind, quality, words)
    return _File(table, PurePosixPath(relative).parent.as_posix().removeprefix("."), relative, kind, quality, words)


def _in_folder(folder: Path, exclude: Collection[Path], max_bytes: int | None) -> tuple[list[Source], list[Skipped]]:
    files: list[_File] = []
    sources: list[Source] = []
    skipped: list[Skipped] = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if (
            not path.is_file()
            or path.resolve() in exclude
            or is_result(path)
            or any(p.startswith(".") for p in PurePosixPath(relative).parts)
        ):
            continue
        if path.suffix.lower() == VIDEO and any(path.with_suffix(suffix).is_file() for suffix in (".csv", ".CSV")):
            continue  # the table is the motion of this video
        if path.suffix.lower() in (VIDEO, *DEVICES) and (recorded := _recorder(path, relative)) is not None:
            sources.append(recorded)
            continue
        if path.suffix.lower() != ".zip" and not may_be_table(relative):
            continue
        try:
            tables = tables_in(path, max_bytes)
        except ValueError as error:
            skipped.append(Skipped(path, str(error)))
            continue
        files += [_file(table, relative, stem(relative), len(tables)) for table in tables]
    grouped = _grouped(files, whole=folder.resolve().name)
    found = sorted([*sources, *grouped.sources], key=lambda source: source.name)
    return found, [*skipped, *grouped.skipped]


class _Grouped(NamedTuple):
    sources: list[Source]
    skipped: list[Skipped]


def _grouped(files: Sequence[_File], *, whole: str) -> _Grouped:
    """Tables of one folder whose names differ in the sensor alone are one source.

    Args:
        files: tables.
        whole: name of a source whose files lie at the top and are named by their sensors alone.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[_File]] = {}
    for file in files:
        key = file.words if file.kind else ("", file.relative)
        groups.setdefault((file.folder, key), []).append(file)
    for file in [one for one in files if one.kind == ""]:  # p1_mag.csv next to p1_acc.csv
        bare = without_others(file.words)
        partners = groups.get((file.folder, bare), []) if bare != file.words else []
        if any(other.kind in ("acc", "linear") for other in partners):
            partners.append(file._replace(kind="other"))
            del groups[file.folder, ("", file.relative)]
    sources: list[Source] = []
    skipped: list[Skipped] = []
    for (folder, words), mine in groups.items():
        if len(mine) == 1:
            if mine[0].kind == "other":
                skipped.append(
                    Skipped(mine[0].table.path, f"'{mine[0].table}' is named after a sensor that is not read")
                )
                continue
            sources.append(_alone(mine[0]))
            continue
        chosen, ignored = _chosen(mine)
        if chosen is None:
            sources += [_alone(file) for file in mine if file.kind != "other"]
            continue
        place = folder or whole
        name = place if not words else "/".join([*([folder] if folder else []), _shared_name(chosen[0].relative)])
        aliases = [text for f in mine for text in (f.relative, stem(f.relative))]
        members = tuple(Member(file.table, _part(file.kind)) for file in chosen)
        sources.append(
            Source(
                name or stem(mine[0].relative), chosen[0].table.path, members, tuple(dict.fromkeys(aliases)), ignored
            )
        )
    return _Grouped(sources, skipped)


_SENSOR = re.compile(
    r"(?:total|linear|user)?[ _-]?(?:acc(?:el(?:er\w*)?)?|gyr(?:o(?:scope)?)?)(?:uncalibrated)?(?![a-z])", re.IGNORECASE
)


def _shared_name(relative: str) -> str:
    """A file's name without the sensor: `p1` for `p1_acc.csv`."""
    bare = stem(PurePosixPath(relative).name)
    return re.sub(r"([ _.-])[ _.-]+", r"\1", _SENSOR.sub("", bare)).strip(" _.-") or bare


def _alone(file: _File) -> Source:
    name = stem(file.relative)
    return Source(name, file.table.path, (Member(file.table, _part(file.kind)),), (file.relative,))


def _part(kind: Kind) -> Part:
    return kind if kind in ("acc", "linear", "gyro", "gravity") else ""


def _chosen(files: Sequence[_File]) -> tuple[list[_File] | None, tuple[str, ...]]:
    """The accelerometer's table, the gyroscope's and gravity's; None if the tables do not make one recording."""
    order = {"total": 0, "": 1, "uncalibrated": 2}
    by_kind: dict[str, list[_File]] = {}
    for file in sorted(files, key=lambda f: order[f.quality]):
        by_kind.setdefault(file.kind, []).append(file)
    for kind in ("acc", "linear", "gyro", "gravity"):
        same = by_kind.get(kind, [])
        if len({file.quality for file in same}) < len(same):
            return None, ()
    acc = by_kind.get("acc") or by_kind.get("linear")
    if not acc:
        return None, ()
    chosen = [acc[0], *by_kind.get("gyro", [])[:1]]
    if acc[0].quality != "total" and (acc[0].kind == "linear" or "gravity" in by_kind):
        chosen += by_kind.get("gravity", [])[:1]
    left = tuple(str(file.table) for file in files if file not in chosen)
    return chosen, left
