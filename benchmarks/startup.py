"""Measure what commands cost before they work, and labelling a recording of five minutes from a cold start.

Seconds of processor and of the clock, the best of several runs, each in a new process. For scale, importing torch alone.
The recording is a CSV file with dates, 50 Hz, of simulated walking; the model is the activity model that ships.

Usage: python benchmarks/startup.py [--rounds 5]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE, SECONDS = 50, 300
HEAVY = ("torch", "torch._dynamo", "lightning_fabric", "pandas", "scipy", "sklearn", "sklearn.ensemble", "matplotlib")


def write_recording(path: Path) -> None:
    clock = np.arange(RATE * SECONDS) / RATE
    swing = 2 * np.pi * 1.8 * clock
    axes = [0.3 * np.sin(swing), 1 + 0.2 * np.cos(swing), 0.1 * np.sin(swing / 2)]
    values = np.stack(axes, axis=1) + np.random.default_rng(0).normal(0, 0.03, (len(clock), 3))
    stamps = np.datetime64("2024-03-04T09:20") + (1000 * clock).astype(int) * np.timedelta64(1, "ms")
    texts = np.datetime_as_string(stamps, unit="ms").tolist()
    rows = (f"{at},{x:.4f},{y:.4f},{z:.4f}\n" for at, (x, y, z) in zip(texts, values.tolist(), strict=True))
    path.write_text("time,acc_x,acc_y,acc_z\n" + "".join(rows))


def seconds(words: list[str], folder: Path | None = None) -> tuple[float, float]:
    """Return seconds of processor and of the clock of a command; with `folder`, the results go to a new folder in it."""
    out = [] if folder is None else ["--out", tempfile.mkdtemp(dir=folder)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words, *out], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_recording(folder / "walk.csv")
        label = ["-m", "otolith", "label", str(folder / "walk.csv"), "--placement", "pocket"]
        print("| command | processor, s | clock, s |")
        print("|---|---|---|")
        for what, words, out in (
            ("import torch", ["-c", "import torch"], None),
            ("otolith --help", ["-m", "otolith", "--help"], None),
            ("otolith label --help", ["-m", "otolith", "label", "--help"], None),
            ("otolith label, 5 minutes at 50 Hz", label, folder),
        ):
            rounds = [seconds(words, out) for _ in range(given.rounds)]
            used, clock = (min(column) for column in zip(*rounds, strict=True))
            print(f"| {what} | {used:.2f} | {clock:.2f} |", flush=True)
    for code in ("import otolith", "import otolith.cli.main", "import otolith.apps.label"):
        check = f"{code}; import sys; print([name for name in {HEAVY!r} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
        print(f"{code} loads of the heavy packages: {done.stdout.strip()}")


if __name__ == "__main__":
    main()
