"""Measure what smoothing gains on people held out: macro F1, accuracy and log loss over cells of half a window, with and
without smoothing, by a random forest, 5 folds over people.

SP-SW-HAR: a mobility test with real sequences (sit, stand up, walk, turn, walk, turn, sit down), watch on the wrist,
windows of 1 s. DSADS: 19 activities, left wrist, a minute each of every person, one after the other, windows of 2 s. Their
order is the corpus's own and not a person's choice, so the chain is fitted on spans apart and learns from them only how long
bouts last.

Usage: python benchmarks/bouts.py FOLDER, the folder of sp-sw-har/ and dsads/.
"""

import io
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

from otolith.apps.label import Labeller
from otolith.apps.label.stream import joined
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.bouts import Bouts
from otolith.data.resample import regular_pieces, resample
from otolith.data.splits import by_subject
from otolith.data.units import STANDARD_GRAVITY
from otolith.data.windows import Windows


class Sequence(NamedTuple):
    """A recording: person, (time, 3) in g, and the label of each time step."""

    person: str
    signal: np.ndarray
    labels: np.ndarray


def mobility(path: Path, rate_hz: float) -> list[Sequence]:
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith("_sw.csv")):
            table = pd.read_csv(archive.open(name))
            time_s = (table["timestamp"] - table["timestamp"].iloc[0]).to_numpy() / 1000
            acc = table[["x_acc", "y_acc", "z_acc"]].to_numpy() / STANDARD_GRAVITY
            piece = max(regular_pieces(time_s, acc, 104.0), key=lambda one: len(one.signal))
            signal = resample(piece.signal, 104.0, rate_hz)
            at = np.searchsorted(time_s, piece.start_s + np.arange(len(signal)) / rate_hz).clip(max=len(table) - 1)
            found.append(Sequence(Path(name).name[:3], signal, table["label"].to_numpy()[at]))
    return found


def day(path: Path) -> list[Sequence]:
    found = []
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt") and "/s" in name)
        for person in sorted({Path(name).parent.name for name in names}):
            signals, labels = [], []
            for name in (name for name in names if f"/{person}/" in name):
                rows = np.loadtxt(io.BytesIO(archive.read(name)), delimiter=",")[:, 18:21] / STANDARD_GRAVITY
                signals.append(rows)
                labels += [Path(name).parent.parent.name] * len(rows)
            found.append(Sequence(person, np.concatenate(signals).astype(np.float32), np.array(labels)))
    return found


def windows_of(sequences: list[Sequence], rate_hz: float, seconds: float, *, apart: bool) -> Windows:
    """Windows inside the spans, half overlapping; `apart`: each span counts as a recording of its own."""
    steps = round(rate_hz * seconds)
    x, y, people, recording, start_s = [], [], [], [], []
    for number, one in enumerate(sequences):
        edges = np.flatnonzero(np.append(True, one.labels[1:] != one.labels[:-1]))
        for span, (first, stop) in enumerate(zip(edges, [*edges[1:], len(one.labels)], strict=True)):
            for at in range(first, stop - steps + 1, steps // 2):
                x.append(one.signal[at : at + steps].T)
                y.append(one.labels[first])
                people.append(one.person)
                recording.append(number * 1000 + span * apart)
                start_s.append(at / rate_hz)
    return Windows.from_arrays(
        np.stack(x).astype(np.float32),
        rate_hz=rate_hz,
        channels="acc",
        subjects=people,
        y=y,
        recordings=recording,
        start_s=start_s,
    )


def measure(sequences: list[Sequence], rate_hz: float, seconds: float, *, apart: bool) -> pd.DataFrame:
    windows = windows_of(sequences, rate_hz, seconds, apart=apart)
    names = np.array(windows.label_names)
    truth: dict[str, list[np.ndarray]] = {"plain": [], "smoothed": []}
    said: dict[str, list[np.ndarray]] = {"plain": [], "smoothed": []}
    sure: dict[str, list[np.ndarray]] = {"plain": [], "smoothed": []}
    for split in by_subject(list(windows.subject_names), folds=5, validation=0.0, seed=0):
        train = windows.for_subjects(split.train)
        model = ForestClassifier(trees=100).fit(train)
        model.bouts_ = Bouts.fitted(train, seconds / 2)
        for one in (each for each in sequences if each.person in split.test):
            for kind in truth:
                labeller = Labeller(model, smooth=kind == "smoothed")
                cells = joined([labeller.push(one.signal), labeller.close()])
                middle = ((cells.start_s + cells.end_s) / 2 * rate_hz).astype(int)
                truth[kind].append(one.labels[middle])
                said[kind].append(names[cells.number])
                sure[kind].append(cells.probability)
    rows = {}
    for kind in truth:
        t, s, p = (np.concatenate(each[kind]) for each in (truth, said, sure))
        right = t == s
        loss = -np.mean(np.log(np.maximum(np.where(right, p, 1 - p), 1e-3)))
        rows[kind] = {
            "macro F1": f1_score(t, s, average="macro"),
            "accuracy": right.mean(),
            "mean probability": p.mean(),
            "log loss": loss,
        }
    return pd.DataFrame(rows).T


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    print("SP-SW-HAR, watch")
    print(
        measure(mobility(folder / "sp-sw-har/sp-sw-har-dataset.zip", 50.0), 50.0, 1.0, apart=False).round(3).to_string()
    )
    print("DSADS, left wrist")
    print(measure(day(folder / "dsads/daily+and+sports+activities.zip"), 25.0, 2.0, apart=True).round(3).to_string())


if __name__ == "__main__":
    main()
