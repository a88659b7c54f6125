"""Measure the few-shot head where subjects do different things.

Subject whitening and self-training learn from training subjects' unlabelled windows, and corpora in which every subject does
everything overrate them. Here each training subject keeps a random half of the classes among those windows (`half`), or of
each class a share between all and a thirtieth (`thinned`).

Macro F1 of the recipe's arms over its folds and seeds, on real recordings; the encoders must be there.

Usage: python benchmarks/uneven.py recipes/few-shot/spar.toml --variant all --out RUN --data DATA
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from otolith.checkpoints import checkpoint
from otolith.classifiers.features import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.splits import draw_shots
from otolith.data.windows import Windows
from otolith.evaluation import protocol
from otolith.experiments import recipe
from otolith.experiments.run import Run

ARMS = ("few-shot", "without-self-training", "without-people")


def kept(windows: Windows, rows: np.ndarray, how: str, seed: int) -> np.ndarray:
    """Return the rows that training subjects keep without labels."""
    assert windows.y is not None
    random, keep, classes = np.random.default_rng(seed), [], np.unique(windows.y[rows])
    for person in np.unique(windows.subject[rows]):
        some = random.choice(classes, -(-len(classes) // 2), replace=False)
        for label in classes:
            mine = rows[(windows.subject[rows] == person) & (windows.y[rows] == label)]
            share = {"even": 1.0, "half": float(label in some), "thinned": 10 ** -random.uniform(0, 1.5)}[how]
            keep.append(mine[: int(np.ceil(len(mine) * share))])
    return np.sort(np.concatenate(keep))


def main() -> None:
    given = argparse.ArgumentParser()
    given.add_argument("recipe", type=Path)
    given.add_argument("--variant")
    given.add_argument("--set", action="append", default=[])
    given.add_argument("--out", type=Path, required=True)
    given.add_argument("--data", type=Path, required=True)
    options = given.parse_args()
    torch.set_num_threads(1)
    run = Run(recipe.load(options.recipe, options.set, variant=options.variant), options.out, options.data)
    windows, found, tables = run.windows(), defaultdict(list), {}
    for unit in run.plan(windows):
        path = run.encoder_path(unit)
        if path not in tables:
            loaded = checkpoint.load(path)
            tables[path] = loaded, embed(loaded.encoder, windows, statistics=True)
        (encoder, table), train, test = (
            tables[path],
            windows.rows_for_subjects(unit.split.train),
            windows.rows_for_subjects(unit.split.test),
        )
        for shots in (2, 10):
            rows = train[draw_shots(windows.y[train], shots, seed=unit.seed * 1000 + unit.split.fold)]
            for how in ("even", "half", "thinned"):
                others = kept(windows, train, how, 100 * unit.seed + unit.split.fold)
                for arm in ARMS:
                    settings = {**run.recipe.classifier_arguments(arm), "seed": unit.seed}
                    model = TransferClassifier.from_arguments(settings, encoder).fit(
                        windows[rows],
                        features=table[rows],
                        unlabelled=windows[others].unlabelled(),
                        unlabelled_features=table[others],
                    )
                    guess = model.predict(windows[test], features=table[test])
                    found[how, shots, arm].append(protocol.scores(windows[test], guess)["macro_f1"])
    for (how, shots, arm), values in found.items():
        print(f"{windows.dataset}, {how:7}, {shots:2} windows per class, {arm:21}: {np.mean(values):.3f}")


if __name__ == "__main__":
    main()
