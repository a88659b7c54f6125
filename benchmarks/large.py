"""Measure prepare, cut, pretrain and evaluate on a simulated corpus of any size, with and without a limit of memory.

People have one recording of a day each at 50 Hz, 3 channels, with a label per minute: a day of rhythms and noise that is
shifted per person, so that the store is as large and as cut up as a real one. Each stage runs in a process of its own. With
`--limit` every stage runs twice: without a limit, and in a control group (version 1) whose limit of memory is this share of
the store; this needs the right to make control groups. Reported are seconds, windows (or people) per second, and the highest
resident memory, which counts the cached parts of the store too.

The 151 people of Capture-24 give 6.5 million windows of 2 s and 7.8 GB: python benchmarks/large.py --people 151 --steps 200

Usage: python benchmarks/large.py [--people 20] [--limit 0.25] [--steps 100] [--stages prepare,cut,pretrain,embed,evaluate]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup/memory")
RATE, SECONDS, DAY_S = 50, 2.0, 24 * 3600
CLASSES = ("sleep", "sedentary", "light", "moderate")
STAGES = "prepare,cut,pretrain,embed,evaluate"


def people(count: int) -> Iterator[object]:
    """Yield a recording of a day per person."""
    import numpy as np

    from otolith.data.recording import ACCELEROMETER, Recording, Span

    random = np.random.default_rng(0)
    steps = RATE * DAY_S
    minute = np.repeat(random.integers(len(CLASSES), size=DAY_S // 60), 60 * RATE)
    rhythm = np.sin(2 * np.pi * (0.3 + 0.7 * minute) * np.arange(steps) / RATE)
    day = np.array([0.2, 0.3, 0.9]) + 0.3 * rhythm[:, None] + random.normal(0, 0.05, (steps, 3))
    day = day.astype(np.float32)
    for person in range(count):
        shift = 60 * RATE * (7 * person % (DAY_S // 60))
        label = np.roll(minute, -shift)[:: 60 * RATE]
        spans = tuple(Span(60.0 * k, 60.0 * (k + 1), CLASSES[number]) for k, number in enumerate(label.tolist()))
        signal = np.roll(day, -shift, axis=0)
        yield Recording(f"P{person}", signal, float(RATE), ACCELEROMETER, str(person), "wrist", spans=spans)


def stage(name: str, folder: Path, count: int, steps: int) -> dict[str, float]:
    """Run one stage; return its seconds and how many things it did."""
    import torch

    from otolith.data.cutting import cut
    from otolith.data.prepare import prepare
    from otolith.data.store import open_store

    torch.set_num_threads(1)
    started = time.perf_counter()
    if name == "prepare":
        prepare(people(count), folder / "store", dataset="simulated", labels=CLASSES)
        return {"seconds": time.perf_counter() - started, "done": count}
    windows = cut(open_store(folder / "store", verify=False), seconds=SECONDS, overlap=0)
    if name == "cut":
        return {"seconds": time.perf_counter() - started, "done": len(windows)}
    from otolith.checkpoints import checkpoint
    from otolith.encoders import Strided

    torch.manual_seed(0)
    encoder = Strided(3, mean=[0.2, 0.3, 0.9], std=[0.3] * 3, widths=[16, 32, 32])
    if name == "pretrain":
        from otolith.objectives import SimCLR
        from otolith.pretraining import Runtime, pretrain

        share = {"epochs": 1, "batch_size": 256, "runtime": Runtime(accelerator="cpu", report_every=1)}
        for step in pretrain(SimCLR(encoder), windows, **share):  # type: ignore[arg-type]
            if step.index == 10:  # a warm-up, with the draw of the epoch's windows
                started = time.perf_counter()
            if step.index == 10 + steps:
                break
        return {"seconds": time.perf_counter() - started, "done": 256 * steps}
    if name == "embed":
        from otolith.classifiers.features import embed

        done = len(embed(encoder, windows, folder=folder))
        return {"seconds": time.perf_counter() - started, "done": done}
    from otolith.evaluation.plan import fold_seeds, planned_rows
    from otolith.evaluation.protocol import evaluate

    split = fold_seeds(windows, seeds=(0,))[0].split
    seen = [f"simulated:{person}" for person in (*split.train, *split.validation)]
    checkpoint.save(folder / "encoder.safetensors", encoder, windows.contract, about={"subjects": seen})
    planned = planned_rows(
        windows,
        fold_seeds(windows, seeds=(0,))[:1],
        lambda _: folder / "encoder.safetensors",
        shots=(10,),
        modes=("frozen", "forest"),
        transfer={"head": {"name": "logistic"}},
    )
    with tempfile.TemporaryDirectory(dir=folder) as rows:
        for row in evaluate(windows, planned, folder=Path(rows)):
            assert row.n_test
    return {"seconds": time.perf_counter() - started, "done": len(windows)}


def measured(name: str, folder: Path, count: int, steps: int, limit: int | None) -> dict[str, float]:
    """Run a stage in a process, in a control group of its own if there is a limit."""
    group = GROUPS / f"otolith-benchmark-{os.getpid()}"
    if limit is not None:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit))

    def enter() -> None:
        if limit is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    words = [sys.executable, __file__, "--child", name, str(folder), "--people", str(count), "--steps", str(steps)]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=enter)
    finally:
        if limit is not None:
            group.rmdir()
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--limit", type=float, help="limit of memory as a share of the store")
    parser.add_argument("--steps", type=int, default=100, help="steps of pretraining that are timed")
    parser.add_argument("--stages", default=STAGES)
    parser.add_argument("--folder", type=Path, help="where the store is made, and removed; default: a temporary folder")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        found = stage(given.child[0], Path(given.child[1]), given.people, given.steps)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({**found, "mb": used.ru_maxrss / 1024, "processor": used.ru_utime + used.ru_stime}))
        return
    size = given.people * DAY_S * RATE * 3 * 4
    limits = [None] if given.limit is None else [None, int(given.limit * size)]
    print(f"{given.people} people, {size / 1e9:.2f} GB, load {os.getloadavg()[0]:.1f}\n")
    print("| stage | limit, MB | s | processor, s | per s | highest MB | speed to no limit |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        for each in given.stages.split(","):
            speeds = []
            for limit in limits:
                found = measured(each, Path(name), given.people, given.steps, limit)
                speeds.append(found["done"] / found["seconds"])
                columns = [each, "none" if limit is None else f"{limit / 1e6:,.0f}", f"{found['seconds']:.1f}"]
                columns += [f"{found['processor']:.1f}", f"{speeds[-1]:,.0f}", f"{found['mb']:,.0f}"]
                print(f"| {' | '.join(columns)} | {speeds[-1] / speeds[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
