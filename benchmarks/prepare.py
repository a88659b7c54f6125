"""Preparing four people's days at 100 Hz: time and memory in one and two processes, and what a killed run leaves behind.

A real wrist recording is tiled to files in Capture-24's layout, in a temporary folder: the same values, a clock and a column
of annotations of its own. For scale, the same files are merely decompressed, and decompressed and parsed. Every run is a
process of its own; its memory, and that of the processes it starts, is what the kernel counted as the most (VmHWM).
Linux only. Usage: python benchmarks/prepare.py [--source DIR] [--hours 24] [--people 4]
"""

import argparse
import contextlib
import gzip
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from otolith.data.store import open_store
from otolith.datasets import capture24
from otolith.datasets.prepare import prepare_dataset
from otolith.storage.files import listing

RATE_HZ, CHUNK_S = 100, 600
ANNOTATIONS = ("7030 sleeping;MET 0.95", "home activity;miscellaneous;sitting;9060 sitting/lying reading;MET 1.3", "")


def tile(sample: Path, folder: Path, *, people: int, hours: float) -> int:
    """Writes the files; returns the rows in all."""
    with gzip.open(sample, "rt") as file:
        values = [line.rstrip("\n").split(",", 1)[1] for line in file][1:]
    rows = RATE_HZ * CHUNK_S
    with contextlib.ExitStack() as stack:
        paths = [folder / f"P{person + 1:03d}.csv.gz" for person in range(people)]
        files = [stack.enter_context(gzip.open(path, "wt", compresslevel=6)) for path in paths]
        for file in files:
            file.write("time,x,y,z,annotation\n")
        for chunk in range(round(hours * 3600 / CHUNK_S)):
            start = np.datetime64("2016-10-13T09:00", "us") + np.timedelta64(CHUNK_S * chunk, "s")
            clock = [
                stamp.replace("T", " ") for stamp in np.datetime_as_string(start + 10_000 * np.arange(rows)).tolist()
            ]
            for person, file in enumerate(files):
                first = (chunk + 17 * person) * rows
                note = ANNOTATIONS[(chunk // 6 + person) % len(ANNOTATIONS)]
                file.write(
                    "".join(f"{stamp},{values[(first + n) % len(values)]},{note}\n" for n, stamp in enumerate(clock))
                )
    return round(hours * 3600 / CHUNK_S) * rows * people


def memory_mb(pid: int) -> dict[int, float]:
    """VmHWM of a process and of those it started, by their number."""
    found, parent = {}, {}
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue  # it has ended
        number = int(path.parent.name)
        parent[number] = int(lines["PPid"])
        if "VmHWM" in lines:  # one that has ended and was not waited for has none
            found[number] = int(lines["VmHWM"].split()[0]) / 1024
    return {number: peak for number, peak in found.items() if pid in (number, parent[number])}


def cpu_s() -> float:
    """Of all processes that have ended, and were waited for, so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(
    arguments: list[str], stop: Callable[[list[str]], bool] = lambda _: False
) -> tuple[float, float, float, list[str]]:
    """Seconds, those of the CPU, MB at most (all processes' peaks summed), and printed lines of this script, run otherwise.

    It is killed (SIGKILL) when `stop` says so of the lines printed so far.
    """
    started, before, peaks, lines = time.perf_counter(), cpu_s(), dict[int, float](), list[str]()
    with subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        while process.poll() is None:
            peaks |= memory_mb(process.pid)
            lines += process.stdout.readlines()
            if stop(lines):
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.1)
        lines += process.stdout.readlines()
    said = [line.rstrip("\n") for line in lines]
    return time.perf_counter() - started, cpu_s() - before, sum(peaks.values()), said


def child(what: str, folder: Path, data: Path, jobs: int) -> None:
    if what == "decompress":
        for path in sorted(folder.glob("*.gz")):
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
    elif what == "parse":
        for name, *_ in listing(folder):
            for _table in capture24._chunks(folder, name, annotated=False):
                pass
    else:
        for part in prepare_dataset("capture24", folder, data, jobs=jobs):
            print(part.name, "taken over" if part.seconds == 0 else f"read in {part.seconds:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path("../shared/data/nhanes-wrist-sample"))
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--people", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, data = Path(temporary) / "source", Path(temporary) / "data"
        folder.mkdir()
        rows = tile(next(given.source.glob("*.csv.gz")), folder, people=given.people, hours=given.hours)
        size = sum(size for _, size, _ in listing(folder))
        print(
            f"{given.people} people, {given.hours:g} h each: {rows:,} rows, {size / 1e6:.0f} MB compressed", flush=True
        )

        def line(name: str, seconds: float, cpu: float, peak: float) -> None:
            speed = f"{rows / seconds:12,.0f} rows/s"
            print(f"{name:40}{seconds:8.1f} s{cpu:8.1f} s of CPU{speed}{peak:8.0f} MB", flush=True)

        line("decompressed", *measured(["decompress", str(folder), "", "1"])[:3])
        line("decompressed and parsed", *measured(["parse", str(folder), "", "1"])[:3])
        hashes = []
        for jobs in (1, 2):
            arguments = ["prepare", str(folder), str(data / str(jobs)), str(jobs)]
            line(f"prepared, {jobs} job{'s' * (jobs > 1)}", *measured(arguments)[:3])
            hashes.append(open_store(data / str(jobs) / "capture24").hash)
        killed = ["prepare", str(folder), str(data / "killed"), "2"]
        half = given.people // 2
        line(f"2 jobs, killed after {half} people", *measured(killed, lambda lines: len(lines) >= half)[:3])
        assert not (data / "killed" / "capture24").exists()
        *figures, said = measured(killed)
        line("started again", *figures)
        print("\n".join(f"    {text}" for text in said))
        hashes.append(open_store(data / "killed" / "capture24").hash)
        print(f"the same store each time: {len(set(hashes)) == 1} ({hashes[0][:16]})")


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] in ("decompress", "parse", "prepare"):
        child(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
