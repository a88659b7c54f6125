"""Measure `prepare` of MotionSense against reading its zip file with pandas, in one process.

The floor is `pandas.read_csv` of every member of the zip file; further lines are the parts of `prepare`. Each runs in this
process, alternately; the best of several rounds counts, in seconds of processor time.

Usage: python benchmarks/prepare_motionsense.py FOLDER [ROUNDS], the folder of A_DeviceMotion_data.zip
"""

import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from otolith.datasets import motionsense
from otolith.datasets.prepare import prepare_dataset


def pandas_reads(source: Path) -> None:
    with zipfile.ZipFile(source / "A_DeviceMotion_data.zip") as archive:
        for name in archive.namelist():
            if name.endswith(".csv") and "MACOSX" not in name:
                with archive.open(name) as file:
                    pd.read_csv(file)


def decompressed(source: Path) -> None:
    with zipfile.ZipFile(source / "A_DeviceMotion_data.zip") as archive:
        for name in archive.namelist():
            archive.read(name)


def parts_read(source: Path) -> None:
    for part in motionsense.parts(source, "pocket", "A"):
        for _ in part.read():
            pass


def prepared(source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for _ in prepare_dataset("motionsense", source, Path(folder), jobs=1):
            pass


def main() -> None:
    source, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    runs: dict[str, Callable[[Path], None]] = {
        "pandas reads the zip file": pandas_reads,
        "decompressed": decompressed,
        "recordings read": parts_read,
        "prepared": prepared,
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.process_time()
            run(source)
            best[name] = min(best[name], time.process_time() - started)
    floor = best["pandas reads the zip file"]
    print("| MotionSense, 360 files | processor, s | to pandas |")
    print("|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.2f} | {seconds / floor:.2f} |")


if __name__ == "__main__":
    main()
