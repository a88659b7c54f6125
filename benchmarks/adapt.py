"""Measure the cost of the default of `otolith adapt` on real recordings that a dependency ships (SPAR: 7 classes, 10
subjects): the time to fit and estimate on 10 windows per class, with the recordings' other windows unlabelled and 2
processes; and windows per second in use, for encoder and head and for the random forest.

The encoder's weights are random, which does not change the time. Usage: python benchmarks/adapt.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from otolith.apps.adapt import adapt
from otolith.checkpoints import checkpoint
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.splits import draw_shots
from otolith.datasets import DATASETS
from otolith.encoders import Strided

ROUNDS = 3


def main() -> None:
    card = DATASETS["spar"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = prepare(card.read(None), folder / "spar", dataset="spar", labels=card.classes)
        windows = cut(store, channels=["acc_x", "acc_y", "acc_z"])
        few = windows[draw_shots(windows.y, 10, seed=0)]
        encoder = folder / "encoder.safetensors"
        built = Strided(3, **windows.statistics(), widths=[64, 128, 256])
        checkpoint.save(encoder, built, windows.contract, about={"subjects": []})
        loaded = checkpoint.load(encoder)

        started = time.perf_counter()
        for _ in adapt.adapt(loaded, few, folder / "adapted", unlabelled=windows.unlabelled(), jobs=2):
            pass
        taken = time.perf_counter() - started
        known = len(windows)
        print(f"adapt: {len(few)} labelled windows, {known:,} unlabelled, 2 processes: {taken:.1f} s")

        torch.set_num_threads(2)
        model = TransferClassifier(loaded).fit(few, unlabelled=windows.unlabelled())
        forest = ForestClassifier().fit(few)
        for name, one in (("encoder and head", model), ("random forest", forest)):
            best = np.inf
            for _ in range(ROUNDS):
                started = time.perf_counter()
                one.predict(windows)
                best = min(best, time.perf_counter() - started)
            print(f"predict, {name}: {known / best:,.0f} windows/s")


if __name__ == "__main__":
    main()
