"""Damaged and odd tables for some minutes: each is read into finite motion, or refused in one line that names the file.

Bytes, cells, lines and columns of tables in many layouts are changed, repeated, moved, cut out and cut off; options are
given at random. A warning counts as a fault. Usage: PYTHONPATH=tests python benchmarks/fuzz_tables.py [MINUTES] [SEED]
"""

import collections
import gzip
import io
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np

from motion import G, motion, stamps, table
from otolith.formats import ReadOptions, read_sessions

CELLS = [
    "",
    "nan",
    "0",
    "-1",
    "1e300",
    "1e-300",
    "999999999999999999999",
    "x",
    '"',
    "'",
    "1,5",
    "1.2.3",
    "#",
    "\0",
    "inf",
    "-",
]
CELLS += [
    "2024-02-30 25:61:61",
    "12:00",
    "01/02/03",
    "\ufeff",
    "°",
    "2024-05-14T10:00:00Z",
    "1e12",
    ";",
    "\t",
    "time",
    "acc_x",
]
OPTIONS = [
    {},
    {"rate_hz": 50.0},
    {"time": "0"},
    {"acc": ("1", "2", "3")},
    {"acc": ("x", "y", "z"), "gyro": ("gx", "gy", "gz")},
    {"acc_unit": "mg"},
    {"gyro_unit": "deg/s"},
    {"time_unit": "ms"},
    {"date_order": "day-first"},
    {"has_gravity": True},
    {"skip_rows": 3},
    {"header": False},
    {"header": True},
    {"column_names": ("time", "x", "y", "z")},
    {"sensor": "acc"},
    {"subject_column": "who"},
    {"device_column": "2"},
    {"max_gap_s": 5.0},
]


def tables() -> list[str]:
    """Texts of tables in many layouts."""
    clock, acc, gyro = motion(8)
    wide = table(clock, acc, gyro, "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z")
    dated = table(stamps(clock, "%d/%m/%Y %H:%M:%S.%3f"), acc, names="Timestamp,X (g),Y (g),Z (g)")
    zoned = table(stamps(clock, "%Y-%m-%dT%H:%M:%S.%3f+02:00"), np.round(acc * 1000), names="t,x,y,z")
    two = dated.assign(Date=stamps(clock, "%Y-%m-%d"), who=np.repeat(["anna", "ben"], 200))
    text = [
        wide.to_csv(index=False),
        wide.to_csv(index=False, sep=";", decimal=","),
        wide.assign(note="words, and more").to_csv(index=True, sep="\t", quoting=1),
        dated.to_csv(index=False, float_format="%.3f"),
        "# rate 50 Hz\n# made by a logger\n" + two.to_csv(index=False),
        zoned.to_csv(index=False, header=False, sep=";"),
        "sep=,\nTime (s),a,b,c\ns,g,g,g\n" + table(clock, acc).to_csv(index=False, header=False),
        table(clock, acc * G).to_csv(index=False, sep=" "),
        "\n".join(
            ["1700000000,1700000000,1700000000", "50,50,50"] + [f"{x:.0f},{y:.0f},{z:.0f}" for x, y, z in acc * 64]
        ),
        table(np.floor(clock), acc).to_csv(index=False),
        table(stamps(clock, "%Y年%m月%d日 %H:%M:%S.%3f"), acc, names="时间,加速度X,加速度Y,加速度Z").to_csv(
            index=False
        ),
        table(stamps(clock, "%M:%S.%3f", "2024-05-14 12:59:58"), acc).to_csv(index=False),
        table(stamps(clock, "%d. Mai %Y %H:%M:%S"), acc).assign(ms=np.round(clock % 1 * 1000)).to_csv(index=False),
        table(2_460_444.5 + clock / 86400, acc).to_csv(index=False),
        _parts(clock, acc),
    ]
    return text


def _parts(clock: np.ndarray, acc: np.ndarray) -> str:
    """A table whose clock stands in columns of its own."""
    names = ["year", "month", "day", "hour", "minute", "second"]
    rows = [stamp.split("-") for stamp in stamps(clock, "%Y-%m-%d-%H-%M-%S.%3f")]
    cells = [",".join([*row, *map(str, values)]) for row, values in zip(rows, acc, strict=True)]
    return "\n".join([",".join([*names, "x", "y", "z"]), *cells])


def changed(text: str, rng: np.random.Generator) -> str:
    """A table with some of its lines, cells or signs changed."""
    lines = text.split("\n")
    for _ in range(int(rng.integers(1, 4))):
        how, at = int(rng.integers(9)), int(rng.integers(len(lines)))
        sign = next((s for s in (";", "\t", ",", " ") if s in lines[-2]), ",") if len(lines) > 2 else ","
        if how == 0:
            lines = lines[: max(1, at)]
        elif how == 1:
            lines[at:at] = lines[: int(rng.integers(1, 30))]
        elif how == 2:
            first, last = sorted(rng.integers(0, len(lines), 2))
            del lines[first + 1 : last]
        elif how == 3:
            rng.shuffle(lines[at:])
            lines[at:] = lines[at:][::-1]
        elif how in (4, 5):
            for place in rng.integers(0, min(len(lines), 12) if how == 4 else len(lines), int(rng.integers(1, 60))):
                cells = lines[place].split(sign)
                cells[int(rng.integers(len(cells)))] = str(rng.choice(CELLS))
                lines[place] = sign.join(cells)
        elif how == 6:  # a whole column
            column, cell = int(rng.integers(8)), str(rng.choice(CELLS))
            rows = [line.split(sign) for line in lines]
            lines = [sign.join([*row[:column], cell, *row[column + 1 :]]) for row in rows]
        elif how == 7:
            lines[at] = "".join(chr(c) for c in rng.integers(32, 400, int(rng.integers(1, 200))))
        else:
            rows = [line.split(sign) for line in lines]
            lines = [sign.join(row[: int(rng.integers(1, 9))] if rng.random() < 0.05 else row) for row in rows]
    return "\n".join(lines)


def written(text: str, folder: Path, rng: np.random.Generator) -> Path:
    """A file of the text: plain, in another encoding, compressed, damaged."""
    data = text.encode(str(rng.choice(["utf-8", "utf-8", "utf-16", "cp1252"])), "replace")
    kind = int(rng.integers(8))
    if kind == 0:
        data = gzip.compress(data)
    elif kind == 1:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("acc.csv", data)
            archive.writestr("gyro.csv", data[: len(data) // 2])
        data = packed.getvalue()
    if rng.random() < 0.15 and data:
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), int(rng.integers(1, 30))):
            damaged[place] = rng.integers(256)
        data = bytes(damaged)
    path = folder / str(rng.choice(["a.csv", "acc.csv", "a.txt", "gyro.csv.gz", "a.zip"]))
    path.write_bytes(data)
    return path


def main() -> None:
    minutes, seed = float((*sys.argv, "5")[1]), int((*sys.argv, "5", "0")[2])
    warnings.simplefilter("error")
    rng = np.random.default_rng(seed)
    whole = tables()
    counts: collections.Counter[str] = collections.Counter()
    faults: dict[str, Path] = {}
    slowest, started = 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as inner:
        while time.perf_counter() - started < 60 * minutes:
            folder = Path(inner)
            path = written(changed(str(rng.choice(whole)), rng), folder, rng)  # type: ignore[arg-type]
            options, gyro = OPTIONS[int(rng.integers(len(OPTIONS)))], [None, True, False][int(rng.integers(3))]
            given = [folder] if rng.random() < 0.2 else [path]
            before = time.perf_counter()
            try:
                for session in read_sessions(given, ReadOptions(**options), gyro=gyro):  # type: ignore[arg-type]
                    assert all(np.isfinite(one.signal).all() and len(one.signal) for one in session.recordings)
                    assert np.isfinite(session.seconds) and session.rate_hz > 0
                counts["read"] += 1
            except (ValueError, FileNotFoundError) as error:
                said = str(error)
                frame = traceback.extract_tb(error.__traceback__)[-1]
                ours = "otolith" in frame.filename and (frame.line or "").startswith(("raise", "_refuse"))
                if "\n" in said or not (ours or "'" in said):
                    faults.setdefault(f"{type(error).__name__} {said!r:.200} at {frame.filename}:{frame.lineno}", path)
                counts["refused"] += 1
            except Exception as error:
                frames = [one for one in traceback.extract_tb(error.__traceback__) if "otolith" in one.filename]
                key = f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}: {str(error)[:100]}"
                if key not in faults:
                    faults[key] = Path(tempfile.gettempdir()) / f"otolith-fuzz-{seed}-{len(faults)}{path.suffix}"
                    faults[key].write_bytes(path.read_bytes())
                    print(f"{key}; options {options}, gyro {gyro}; see {faults[key]}", flush=True)
                counts["failed"] += 1
            slowest = max(slowest, time.perf_counter() - before)
            path.unlink()
    for fault in faults:
        print(fault)
    print(f"{sum(counts.values()):,} tables: {dict(counts)}; slowest {slowest:.2f} s")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
