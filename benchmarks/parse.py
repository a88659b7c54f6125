"""Measure reading a table of a recording against fast CSV readers: an hour at 100 Hz with dates, on one thread.

`otolith` surveys the file and reads its recordings, with units and clock decided. The readers parse the columns and the
dates. Processor time, the best of several rounds. Usage: python benchmarks/parse.py [ROUNDS]
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from otolith.formats import survey
from otolith.formats.options import DEFAULTS
from timing import seconds

STEPS = 360_000


def write_hour(path: Path) -> None:
    values = np.array([0.2, 0.9, 0.1]) + np.random.default_rng(0).normal(0, 0.3, (STEPS, 3))
    stamps = np.datetime64("2024-03-04T09:20") + np.arange(STEPS) * np.timedelta64(10, "ms")
    texts = np.datetime_as_string(stamps, unit="ms").tolist()
    rows = (f"{at},{x:.4f},{y:.4f},{z:.4f}\n" for at, (x, y, z) in zip(texts, values.tolist(), strict=True))
    path.write_text("time,x,y,z\n" + "".join(rows))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.csv"
        write_hour(path)

        def read() -> None:
            found = survey([path], DEFAULTS)
            found.read(found.sources[0])

        one_thread = csv.ReadOptions(use_threads=False)
        dates = csv.ConvertOptions(column_types={"time": pa.timestamp("ms")})
        runs: dict[str, Callable[[], object]] = {
            "pyarrow": lambda: csv.read_csv(path, read_options=one_thread, convert_options=dates),
            "pandas": lambda: pd.read_csv(path, parse_dates=["time"]),
            "otolith": read,
        }
        times = {name: seconds(run, rounds) for name, run in runs.items()}
    print(f"| {STEPS:,} rows | processor, s | to pyarrow |")
    print("|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {taken:.3f} | {taken / times['pyarrow']:.1f} |")


if __name__ == "__main__":
    main()
