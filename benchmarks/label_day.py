"""Measure what `otolith label` takes for one day at 100 Hz, from a CSV file with dates to all results: seconds of the
clock and of the processor, and memory.

The day is the hour of the wrist recording of NHANES, resampled and repeated, with 3.5 h in which the device lies still. The
model is an encoder with random weights (which do not change the time) and a head on SPAR.

Usage: python benchmarks/label_day.py FOLDER, the folder of nhanes-wrist-sample/.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from otolith.classifiers.baselines import load_classifier
from otolith.classifiers.bouts import Bouts
from otolith.classifiers.rejection import Rejection
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.resample import resample
from otolith.data.splits import draw_shots
from otolith.datasets import DATASETS
from otolith.encoders import Strided

RATE, STEPS = 100, 24 * 3600 * 100


def write_day(source: Path, path: Path) -> None:
    table = pd.read_csv(source)
    hour = resample(table[["x", "y", "z"]].to_numpy(np.float32), 80, RATE)
    signal = np.tile(hour, (STEPS // len(hour) + 1, 1))[:STEPS]
    still = slice(10 * 3600 * RATE, round(13.5 * 3600 * RATE))
    noise = np.random.default_rng(0).normal(size=(still.stop - still.start, 3))
    signal[still] = [0, 0, 1] + 0.003 * noise
    stamps = np.datetime64("2024-03-04T09:20") + np.arange(STEPS) * np.timedelta64(1000 // RATE, "ms")
    with path.open("w") as file:
        file.write("time,x,y,z\n")
        for first in range(0, STEPS, 500_000):
            rows = signal[first : first + 500_000].round(4).tolist()
            texts = np.datetime_as_string(stamps[first : first + 500_000], unit="ms").tolist()
            file.writelines(f"{at},{x},{y},{z}\n" for at, (x, y, z) in zip(texts, rows, strict=True))


def write_model(folder: Path) -> Path:
    card = DATASETS["spar"]
    store = prepare(card.read(None), folder / "spar", dataset="spar", labels=card.classes)
    windows = cut(store, channels=["acc_x", "acc_y", "acc_z"])
    few = windows[draw_shots(windows.y, 40, seed=0)]
    model = TransferClassifier(Strided(3, **windows.statistics(), widths=[64, 128, 256])).fit(few)
    distances = Rejection.fitted(few.array(), few.y, len(few.label_names))
    model.rejection_ = distances.calibrate(
        model.predict_proba(few), distances.distance(few.array()), few.y, few.subject
    )
    model.bouts_ = Bouts.fitted(few, 1.0)
    model.save(folder / "model.safetensors", label_names=windows.label_names)
    load_classifier(folder / "model.safetensors")
    return folder / "model.safetensors"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_day(Path(sys.argv[1]) / "nhanes-wrist-sample/sample.csv.gz", folder / "day.csv")
        model = write_model(folder)
        started = time.perf_counter()
        words = [
            sys.executable,
            "-m",
            "otolith",
            "label",
            model,
            folder / "day.csv",
            "--out",
            folder / "out",
            "--quiet",
        ]
        subprocess.run([str(word) for word in words], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"clock {time.perf_counter() - started:.0f} s, processor {used.ru_utime + used.ru_stime:.0f} s")
        print(
            f"memory at most {used.ru_maxrss / 1024:,.0f} MiB; page {(folder / 'out/day.html').stat().st_size / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
