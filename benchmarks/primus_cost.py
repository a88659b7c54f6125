"""What PRIMUS costs, term by term: time and memory of pretraining and of fine-tuning at 1, 3 and 10 times the windows.

The arms and settings are those of `recipes/primus.toml` on a prepared and paired UTD-MHAD: `simclr`; the self-supervised
term (`ssl`), the multimodal one, both, and both with the nearest neighbour (`primus`); all people train, nobody validates.
The corpus is small, so more windows are the same ones again: as many rows, and as many paired vectors in memory, as if they
were others. Fine-tuning, with the recipe's settings and a head of words, is the same network whatever pretrained it, and is
measured once.

Every line is a process of its own. An epoch's time is that of its windows at the speed of up to `--steps` steps after the
first, which warms up (0: all steps of an epoch); the queue of neighbours is then as full as after so many steps. On one
thread it is time of the processor, which other programs disturb least; on several, of the wall. Memory is the most that was
resident (`ru_maxrss`), the program, its libraries, the signal's memory map and the text encoder (fine-tuning) included;
`nothing trained` is what windows and pairs take. Ratios are to the same arm at the first of `--times`, and to `ssl` at the
same times.

Usage: python benchmarks/primus_cost.py [--data data] [--times 1,3,10] [--steps 20] [--threads 1]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import otolith

RECIPE = Path(otolith.__file__).parent / "recipes" / "primus.toml"
NOTHING, TUNED = "nothing trained", "fine-tuning"
ARMS = ("simclr", "ssl", "multimodal", "ssl-multimodal", "primus", TUNED)


def child(arm: str, data: Path, times: int, limit: int, threads: int) -> None:
    """Prints windows, steps done, windows a second and MB. What is heavy is imported here alone: the parent must stay small,
    as the most that a process held before it became another program counts for that one too."""
    import numpy as np
    import torch

    from otolith.classifiers.transfer import TransferClassifier
    from otolith.experiments import recipe
    from otolith.experiments.build import build_encoder, build_objective, pretrain_arguments
    from otolith.experiments.run import Run

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    clock: Callable[[], float] = time.process_time if threads == 1 else time.perf_counter
    settings = recipe.load(RECIPE, variant="primus" if arm in (NOTHING, TUNED) else arm)
    run = Run(settings, Path(), data)
    once = run.windows() if arm == TUNED else run.pretraining(None).train
    windows = once[np.tile(np.arange(len(once)), times)]
    encoder = build_encoder(settings, once, 0)
    steps, speed = 0, 0.0
    if arm == TUNED:
        arguments = settings.classifier_arguments("finetune")
        batch = arguments["training"]["batch_size"]
        steps = min(limit or len(windows), -(-len(windows) // batch))
        ends = []
        for count in (1, 1, steps):  # the first loads the words; what comes before the first step is in both others
            model = TransferClassifier.from_arguments(arguments, encoder)
            started = clock()
            model.set_params(training__steps=count).fit(windows)
            ends.append(clock() - started)
        speed = (steps - 1) * batch / (ends[2] - ends[1])
    elif arm != NOTHING:
        from otolith.pretraining import Runtime, pretrain

        objective = build_objective(settings, encoder, once, 0)
        once_over = pretrain_arguments(settings) | {"epochs": 1, "runtime": Runtime(accelerator="cpu", report_every=1)}
        for step in pretrain(objective, windows, **once_over):
            steps, now = step.index, clock()
            if steps == 1:
                started = now
            if steps == limit:
                break
        speed = (steps - 1) * settings.pretrain["batch_size"] / (now - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    print(json.dumps([len(windows), steps, speed, peak]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of the prepared corpora and their pairs"
    )
    parser.add_argument("--times", default="1,3,10", help="how often the windows are repeated")
    parser.add_argument("--steps", type=int, default=20, help="at most, of each run; 0: an epoch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.steps == 1:
        parser.error("--steps 1: the first step only warms up; expected at least 2, or 0 for an epoch")
    if given.child:
        child(given.child[0], given.data, int(given.child[1]), given.steps, given.threads)
        return

    def measured(arm: str, times: int) -> tuple[int, int, float, float]:
        options = ["--data", str(given.data), "--steps", str(given.steps), "--threads", str(given.threads)]
        command = [sys.executable, __file__, *options, "--child", arm, str(times)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        windows, steps, speed, peak = json.loads(done.stdout.splitlines()[-1])
        return windows, steps, speed, peak

    what = "time of the processor" if given.threads == 1 else "time of the wall"
    print(f"{given.threads} threads, {what}, at most {given.steps or 'all'} steps, load {os.getloadavg()[0]:.1f}\n")
    print("| arm | times | windows | steps | windows/s | s an epoch | to 1x | to ssl | MB at most | to 1x | to ssl |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    found: dict[tuple[str, int], tuple[float, float]] = {}
    repeats = [int(text) for text in given.times.split(",")]
    for arm in (NOTHING, *given.arms.split(",")):
        for times in repeats:
            windows, steps, speed, peak = measured(arm, times)
            figures = (windows / speed if speed else 0.0, peak)
            found[arm, times] = figures
            columns = [arm, f"{times}", f"{windows:,}"]
            columns += [f"{steps}", f"{speed:,.0f}", f"{figures[0]:.1f}"] if speed else ["", "", ""]
            for index, name in ((0, ""), (1, f"{peak:,.0f}")):
                columns += [name] if name else []
                for other in (found.get((arm, repeats[0])), found.get(("ssl", times)) if arm != TUNED else None):
                    columns.append(f"{figures[index] / other[index]:.2f}" if other and other[index] else "")
            print(f"| {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
