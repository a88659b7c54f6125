"""Measure how busy `evaluate` keeps its processes: seconds that workers compute, over the seconds that they are held.

The rows of two encoders on synthetic people (`otolith.datasets.synthetic`), with the protocol's modes, in 1 and in `--jobs`
processes. The processor time of all processes over clock x jobs is what a core is used on an idle machine. The share of
the time inside rows, from the rows themselves, over clock x jobs does not depend on other programs on the machine: the rest
is starting workers, sending tasks and waiting for the last row. Start-up is the time to the first row less its own.

Usage: python benchmarks/busy.py [--jobs 2] [--subjects 20] [--seconds 120]
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import torch

from otolith.checkpoints import checkpoint
from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.windows import Windows
from otolith.datasets import synthetic
from otolith.encoders import Strided
from otolith.evaluation.plan import PlannedRow, fold_seeds, planned_rows
from otolith.evaluation.protocol import evaluate

MODES = ("frozen", "finetune", "scratch", "forest")
TRANSFER = {"head": {"name": "mlp"}, "training": {"steps": 60}}


def planned(windows: Windows, folder: Path) -> list[PlannedRow]:
    units = fold_seeds(windows, folds=5, seeds=(0,), fold_seed=0)
    paths = {}
    for unit in units:
        people = (*unit.split.train, *unit.split.validation)
        paths[unit.split.fold] = folder / f"encoder-{unit.split.fold}.safetensors"
        torch.manual_seed(unit.split.fold)
        encoder = Strided(6, **windows.for_subjects(people).statistics())
        about = {"subjects": [f"{windows.dataset}:{person}" for person in people]}
        checkpoint.save(paths[unit.split.fold], encoder, windows.contract, about=about)
    return planned_rows(
        windows, units, lambda unit: paths[unit.split.fold], shots=(2, 10, 50), modes=MODES, transfer=TRANSFER
    )


def used() -> float:
    """Return seconds of processor of this process and of those that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    given = parser.parse_args()
    torch.set_num_threads(1 if given.jobs > 1 else torch.get_num_threads())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings = synthetic.made(subjects=given.subjects, seconds=given.seconds)
        store = prepare(recordings, folder / "store", dataset="synthetic", labels=synthetic.CLASSES)
        windows = cut(store, seconds=2.0)
        rows = planned(windows, folder)
        print(f"{len(windows):,} windows, {len(rows)} rows, load {os.getloadavg()[0]:.1f}\n")
        print(
            "| jobs | clock, s | processor, s | inside rows, s | to the first row, s | last row alone, s | inside rows |"
        )
        print("|---|---|---|---|---|---|---|")
        for jobs in dict.fromkeys((1, given.jobs)):
            before, started = used(), time.perf_counter()
            done = []
            for row in evaluate(windows, rows, folder=folder / f"rows-{jobs}", jobs=jobs):
                done.append((time.perf_counter() - started, row.seconds))
            clock = time.perf_counter() - started
            inside = sum(seconds for _, seconds in done)
            if jobs > 1:
                from joblib.externals.loky import get_reusable_executor

                get_reusable_executor().shutdown(wait=True)  # so that their time is counted
            columns = [str(jobs), f"{clock:.1f}", f"{used() - before:.1f}", f"{inside:.1f}"]
            columns += [f"{done[0][0] - done[0][1]:.1f}", f"{done[-1][0] - done[-jobs][0]:.1f}"]
            print(f"| {' | '.join(columns)} | {100 * inside / clock / jobs:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
