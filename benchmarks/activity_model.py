"""Fit a classifier of everyday activities on the labels of four corpora; judge it on each corpus that it never saw.

    python benchmarks/activity_model.py --data DATA --out RUN --rows results/activity-model.csv

The encoder and the head that judge a corpus were made without it: RUN holds the encoders of
`benchmarks/release_encoder.py pretrain`. A corpus whose encoder is not there yet is left out. SPAR has none of the
activities. The rows are confusion matrices: windows by corpus, placement, true and predicted class.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

from otolith.checkpoints.provenance import provenance
from otolith.classifiers.features import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.windows import Windows
from otolith.experiments.corpora import open_corpus
from release_encoder import released_run

REST = "sitting or standing"
CLASSES: dict[str, dict[str, str]] = {
    "motionsense": {
        "downstairs": "stairs", "upstairs": "stairs", "walking": "walking", "jogging": "running", "standing": REST,
        "sitting": REST,
    },
    "wisdm": {
        "walking": "walking", "jogging": "running", "stairs": "stairs", "sitting": REST, "standing": REST,
        **dict.fromkeys(
            ("brushing teeth", "kicking", "playing catch", "dribbling", "clapping", "folding clothes"), "other"
        ),
    },
    "dsads": {
        "sitting": REST, "standing": REST, "standing in a lift": REST, "lying on back": "lying",
        "lying on right side": "lying", "ascending stairs": "stairs", "descending stairs": "stairs",
        "walking in a car park": "walking", "walking on a treadmill": "walking", "walking up a treadmill": "walking",
        "running on a treadmill": "running",
        **dict.fromkeys(
            ("cross trainer", "cycling lying", "cycling upright", "rowing", "jumping", "basketball"), "other"
        ),
    },
    "sp-sw-har": {"seated": REST, "walking": "walking"},
}  # fmt: skip
"""What each corpus's labels are called here; windows with other labels (eating, turning, stepper) are left out."""
PLACES = {"right-arm": "wrist", "left-arm": "wrist", "right-leg": "thigh", "left-leg": "thigh"}
MOST, BLOCK = 600, 8
"""Windows of a corpus, placement and class that are learnt from, in blocks of consecutive ones spread evenly."""


def labelled(corpus: str, data: Path) -> tuple[Windows, np.ndarray, np.ndarray]:
    """Return a corpus's windows that have one of the classes, the class of each, and its placement."""
    store = open_corpus(data, corpus, verify=False)
    windows = cut(store, channels="acc", labels=[name for name in store.labels if name in CLASSES[corpus]])
    assert windows.y is not None and windows.placement is not None
    names = np.array([CLASSES[corpus][name] for name in windows.label_names])[windows.y]
    return windows, names, np.array([PLACES.get(place, place) for place in windows.placement.tolist()])


def learnt_from(data: Path, without: str | None) -> Windows:
    """Return evenly spread windows of all corpora but one, with the classes as labels."""
    x, y, subjects, recordings, starts = [], [], [], [], []
    for corpus in CLASSES:
        if corpus == without:
            continue
        windows, names, places = labelled(corpus, data)
        for place in sorted(set(places)):
            for name in sorted(set(names)):
                mine = np.flatnonzero((names == name) & (places == place))
                some = mine[np.arange(len(mine)) // BLOCK % max(1, -(-len(mine) // MOST)) == 0]
                x.append(windows.gather(torch.from_numpy(some)).numpy())
                y += [name] * len(some)
                subjects += [f"{corpus}-{windows.subject_names[number]}" for number in windows.subject[some]]
                recordings += [f"{corpus}-{number}" for number in windows.recording[some]]
                starts.append(windows.start_s[some])
    return Windows.from_arrays(
        np.concatenate(x), rate_hz=50, channels="acc", subjects=subjects, y=y, recordings=recordings,
        start_s=np.concatenate(starts), dataset="activities",
    )  # fmt: skip


def fitted(encoder: Path, train: Windows) -> TransferClassifier:
    """Return the few-shot head on an encoder, fitted on all these windows."""
    return TransferClassifier(encoder).fit(train, unlabelled=train)


def main() -> None:
    """Judge every corpus whose encoder is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("runs/release-encoder"))
    parser.add_argument("--rows", type=Path, default=Path("results/activity-model.csv"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for corpus in CLASSES:
        encoder = released_run(corpus, given.data, given.out).encoder_path(None)
        if not encoder.exists():
            continue
        train = learnt_from(given.data, corpus)
        model = fitted(encoder, train)
        windows, names, places = labelled(corpus, given.data)
        features = embed(model.encoder_, windows, statistics=True)
        guesses = np.array(train.label_names)[model.predict(windows, features=features)]
        for place in sorted(set(places)):
            here = places == place
            score = f1_score(names[here], guesses[here], labels=sorted(set(names[here])), average="macro")
            print(f"{corpus} {place}: macro F1 {score:.3f}, {here.sum():,} windows", flush=True)
            pairs = Counter(zip(names[here].tolist(), guesses[here].tolist(), strict=True))
            lines += [(corpus, place, *pair, count) for pair, count in sorted(pairs.items())]
    table = pd.DataFrame(lines, columns=["corpus", "placement", "true", "predicted", "windows"])
    table.assign(commit=provenance()["commit"]).to_csv(given.rows, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
