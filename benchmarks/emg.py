"""Ask whether what was learnt from motion helps with muscle signals: rows of the recipe `emg` with other encoders.

    python benchmarks/emg.py --data DATA --out RUN [--shots 2 10] [--seeds 0] [--rows results/emg.csv] [--set SETTING=VALUE]

Variants of the encoder, for the training people of each fold: `emg`, pretrained on their muscle signals; `motion`, the
shipped encoder with a new first layer for 8 electrodes; `motion-then-emg`, that one, pretrained as `emg` is. The forest, the
SVM, the untrained encoder and the network from scratch need none and are rows of `emg`. What was computed before is not
computed again.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pandas as pd
import torch

from otolith.checkpoints import checkpoint
from otolith.checkpoints.shipped import ENCODER
from otolith.encoders import Encoder
from otolith.evaluation.plan import FoldSeed, planned_rows
from otolith.evaluation.protocol import collect_rows, evaluate
from otolith.experiments.build import build_encoder, build_objective, pretrain_arguments
from otolith.experiments.recipe import load
from otolith.experiments.run import Run
from otolith.pretraining import Runtime, pretrain

VARIANTS = {"emg": True, "motion": False, "motion-then-emg": True}
"""Whether a variant is pretrained on muscle signals."""


def save(run: Run, unit: FoldSeed, variant: str, path: Path) -> None:
    """Make the encoder of a variant for the training people of a fold."""
    job, motion = run.pretraining(unit), checkpoint.load(ENCODER)
    encoder: Encoder = build_encoder(run.recipe, job.train, job.seed)
    names, seen = [run.recipe.dataset], job.subjects
    if variant != "emg":
        new = encoder.take_weights(motion.encoder)
        names, seen = [motion.about["pretrained_on"], *names], [*motion.about["subjects"], *seen]
        print(f"new: {', '.join(new)}", flush=True)
    objective = build_objective(run.recipe, encoder, job.train, job.seed)
    arguments = pretrain_arguments(run.recipe)
    arguments["runtime"] = dataclasses.replace(arguments.get("runtime", Runtime()), resume=path.with_suffix(".state"))
    for step in pretrain(objective, job.train, seed=job.seed, **arguments) if VARIANTS[variant] else ():
        if step.index % 100 == 0:
            print(path.stem, f"{step.index}/{step.of}", flush=True)
    about = {"objective": run.recipe.objective["name"], "encoder": run.recipe.encoder["name"], "subjects": seen}
    about |= {"pretrained_on": "+".join(names if VARIANTS[variant] else names[:1]), "windows": len(job.train)}
    checkpoint.save(path, encoder, job.train.contract, about=about)
    path.with_suffix(".state").unlink(missing_ok=True)


def main() -> None:
    """Pretrain and evaluate what is missing, then write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("runs/emg"))
    parser.add_argument("--shots", type=int, nargs="+", default=[2, 10, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="SETTING=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = Run(load("emg", [f"protocol.seeds={given.seeds}", *given.changes]), given.out, given.data)
    windows = run.windows()
    tables = []
    for unit in run.plan(windows):
        for variant in VARIANTS:
            path = given.out / "encoders" / f"{variant}-fold{unit.split.fold}-seed{unit.seed}.safetensors"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                save(run, unit, variant, path)
            modes = [
                mode for mode in run.recipe.protocol["modes"] if variant == "emg" or mode in ("few-shot", "finetune")
            ]
            arms = {"transfer": run.recipe.transfer, "overrides": run.recipe.overrides}
            planned = planned_rows(windows, [unit], lambda _, path=path: path, modes=modes, shots=given.shots, **arms)
            for row in evaluate(windows, planned, folder=run.rows, recipe=run.recipe.as_json()):
                print(variant, row.mode, row.shots, row.fold, row.seed, f"{row.macro_f1:.3f}", flush=True)
            tables.append(collect_rows(run.rows, planned).assign(variant=variant))
    if given.rows:
        pd.concat(tables).to_csv(given.rows, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
