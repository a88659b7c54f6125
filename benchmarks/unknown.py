"""Measure what a model of shoulder exercises (SPAR) calls "unknown": exercises of people it has not seen, exercises that it
was not taught, other corpora, and noise. Shares of time in percent, as `otolith label` gives them, with and without
smoothing.

The model is the random forest of `otolith adapt`, on 10 windows per class and person of five people; the other five are held
out, and the two halves take turns. What is unknown does not depend on the classifier, but for the threshold of the
probability.

Usage: python benchmarks/unknown.py FOLDER, the folder of motionsense/, wharf/ and nhanes-wrist-sample/.
"""

import dataclasses
import io
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from otolith.apps.adapt.unknown import Judged, judge_left_out, learn_unknown
from otolith.apps.label import Labeller
from otolith.apps.label.stream import joined
from otolith.classifiers.baselines import ForestClassifier
from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.windows import Windows
from otolith.datasets import DATASETS

ACC = ["acc_x", "acc_y", "acc_z"]
SHOTS = 10


def few(windows: Windows) -> Windows:
    """The first windows of each class and person."""
    table = pd.DataFrame({"y": windows.y, "subject": windows.subject})
    return windows[np.flatnonzero(table.groupby(["y", "subject"]).cumcount().to_numpy() < SHOTS)]


def fitted(windows: Windows) -> ForestClassifier:
    """A forest that knows what is unknown to it, as `adapt` fits it."""
    judged = Judged.of(len(windows), len(windows.label_names))
    for person in np.unique(windows.subject):
        train, test = (np.flatnonzero((windows.subject == person) == side) for side in (False, True))
        model = ForestClassifier(trees=100).fit(windows[train])
        said = judge_left_out(windows, train, test, model.classes_, model.predict_proba(windows[test]))
        judged.take(test, said)
    model = ForestClassifier(trees=100).fit(windows)
    learn_unknown(model, windows, judged)
    return model


def without(windows: Windows, number: int) -> Windows:
    """Windows without one class, whose number no class has."""
    kept = windows[np.flatnonzero(windows.y != number)]
    names = tuple(name for k, name in enumerate(windows.label_names) if k != number)
    return dataclasses.replace(kept, y=kept.y - (kept.y > number), label_names=names)


def share(model: ForestClassifier, signals: list[np.ndarray], rate_hz: float, *, smooth: bool) -> float:
    """Percent of the time that is unknown."""
    said = []
    for signal in signals:
        labeller = Labeller(model, rate_hz=rate_hz, smooth=smooth)
        cells = joined([labeller.push(signal), labeller.close()])
        said.append(cells.number == len(labeller.labels) - 1)
    return 100 * float(np.concatenate(said).mean())


def others(folder: Path) -> Iterator[tuple[str, list[np.ndarray], float]]:
    """Names, signals and rates of what is no shoulder exercise."""
    table = pd.read_csv(folder / "nhanes-wrist-sample/sample.csv.gz")
    yield "free living, wrist (NHANES, 75 min)", [table[["x", "y", "z"]].to_numpy(np.float32)], 80.0
    with zipfile.ZipFile(folder / "motionsense/A_DeviceMotion_data.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".csv") and "MAC" not in name][::20]
        tables = [pd.read_csv(archive.open(name)).iloc[:3000] for name in names]
    signals = [np.stack([t[f"gravity.{c}"] + t[f"userAcceleration.{c}"] for c in "xyz"], axis=1) for t in tables]
    yield "walking, stairs, sitting, pocket (MotionSense)", signals, 50.0
    with zipfile.ZipFile(folder / "wharf/WHARF_Data.zip") as archive:
        names = [n for n in archive.namelist() if "Accelerometer" in n and "MODEL" not in n and n.endswith(".txt")][
            ::10
        ]
        tables = [np.loadtxt(io.BytesIO(archive.read(name))) for name in names]
    yield "gestures of daily living, wrist (WHARF)", [-1.5 + 3 * t / 63 for t in tables], 32.0
    random = np.random.default_rng(0)
    for strength in (0.03, 0.1, 0.3, 1.0):
        noise = strength * random.normal(size=(15_000, 3)) + [0, 0, 1]
        yield f"Gaussian noise of {strength:g} g", [noise], 50.0


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        card = DATASETS["spar"]
        store = prepare(card.read(None), Path(name) / "spar", dataset="spar", labels=card.classes)
        windows = cut(store, channels=ACC)
        columns = [store.channels.index(channel) for channel in ACC]
        people = [windows.subject_names[number] for number in np.unique(windows.subject)]
        rows: list[dict[str, object]] = []
        foreign = list(others(Path(sys.argv[1])))
        for held in (people[::2], people[1::2]):
            known = few(windows.for_subjects([person for person in people if person not in held]))
            entries = [entry for entry in store.entries if entry.subject in held]
            signals = {k: [] for k in range(len(windows.label_names))}
            for entry in entries:
                signals[entry.spans[0][2]].append(np.array(store.signal(entry)[:, columns]))
            model = fitted(known)
            cases = [("exercises of people held out", model, [each for own in signals.values() for each in own], 50.0)]
            cases += [(what, model, found, rate) for what, found, rate in foreign]
            for number in signals:
                cases.append(
                    ("an exercise left out of training", fitted(without(known, number)), signals[number], 50.0)
                )
            for what, judge, found, rate in cases:
                plain, smooth = (share(judge, found, rate, smooth=each) for each in (False, True))
                rows.append({"what": what, "unknown": plain, "smoothed": smooth})
        table = pd.DataFrame(rows).groupby("what", sort=False).mean()
        print(table.round(0).astype(int).to_string())


if __name__ == "__main__":
    main()
