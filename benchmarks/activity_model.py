"""Fit a classifier of everyday activities on the labels of four corpora; judge it on each corpus that it never saw.

    python benchmarks/activity_model.py --data DATA --compare forest supervised-turned --rows results/activity-kinds.csv
    python benchmarks/activity_model.py --data DATA --rows results/activity-model.csv \\
        --save src/otolith/weights/activity.safetensors

The model that judges a corpus was made without any of it. SPAR has none of the activities. DSADS is of 25 Hz, so the models
take 25 Hz; `released` takes 50 Hz, as its encoder does. The released encoder without each corpus is that of
`benchmarks/release_encoder.py pretrain`, in RUN (`--out`); a corpus whose encoder is not there is left out of that kind.

Rows are counts of windows by corpus, placement, true and predicted class.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

from otolith.checkpoints.provenance import provenance
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.heads import LogisticHead, MLPHead
from otolith.classifiers.rejection import Rejection
from otolith.classifiers.settings import Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.augment import augment
from otolith.data.cutting import cut
from otolith.data.resample import resample
from otolith.data.windows import Windows
from otolith.datasets import DATASETS
from otolith.encoders.strided import Strided
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
ORDER = ("walking", "stairs", "running", REST, "lying", "other")
PLACES = {"right-arm": "wrist", "left-arm": "wrist", "right-leg": "pocket", "left-leg": "pocket"}
"""Placements by what they are judged as: DSADS has its sensors on the wrists, above the knees and on the chest."""
ONLY_ONE = ("lying",)
"""Classes that one corpus alone has: without it they cannot be learnt, and no other corpus can judge them."""
MOST, BLOCK = 300, 8
"""Windows of a corpus, placement and class that are learnt from, in blocks of consecutive ones spread evenly."""
TURNED: tuple[dict[str, Any], ...] = ({"name": "rotation"},)
AUGMENTED: tuple[dict[str, Any], ...] = (
    {"name": "scaling", "sd": 0.05, "common": True}, {"name": "time_warp", "sd": 0.1}, {"name": "noise", "sd": 0.03},
)  # fmt: skip
RATE_HZ, SECONDS = 25.0, 2.0
CALIBRATED = 2000
"""Windows of a left-out corpus, at most about, that the calibration sees."""
SHIPPED = "supervised-turned"
Model = TransferClassifier | ForestClassifier


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Windows of a corpus that have one of the classes: (windows, 3, steps) in g, and what is known of each."""

    name: str
    x: np.ndarray
    names: np.ndarray
    places: np.ndarray
    people: np.ndarray


def labelled(name: str, data: Path, rate_hz: float, seconds: float) -> Corpus:
    """Return a corpus's windows of so many seconds, at a rate."""
    store = open_corpus(data, name)
    windows = cut(
        store, seconds=seconds, channels="acc", labels=[each for each in store.labels if each in CLASSES[name]]
    )
    assert windows.y is not None and windows.placement is not None
    x = windows.array().numpy()
    if rate_hz != windows.contract.rate_hz:
        flat = x.transpose(2, 0, 1).reshape(x.shape[2], -1)
        x = resample(flat, windows.contract.rate_hz, rate_hz).reshape(-1, len(x), 3).transpose(1, 2, 0).copy()
    names = np.array([CLASSES[name][each] for each in windows.label_names])[windows.y]
    places = np.array([PLACES.get(place, place) for place in windows.placement.tolist()])
    people = np.array([f"{name}:{each}" for each in windows.subject_names])[windows.subject]
    return Corpus(name, x, names, places, people)


def learnt_from(corpora: list[Corpus], rate_hz: float, most: int, *, turned: int) -> Windows:
    """Return evenly spread windows of all corpora, with the classes as labels, and `turned` randomly rotated copies."""
    x, y, people = [], [], []
    for corpus in corpora:
        for place in sorted(set(corpus.places)):
            for name in sorted(set(corpus.names)):
                mine = np.flatnonzero((corpus.names == name) & (corpus.places == place))
                some = mine[np.arange(len(mine)) // BLOCK % max(1, -(-len(mine) // most)) == 0]
                x.append(corpus.x[some])
                y += [name] * len(some)
                people += [person.replace(":", "-") for person in corpus.people[some].tolist()]
    generator = torch.Generator().manual_seed(0)
    one = np.concatenate(x)
    copies = [augment(torch.from_numpy(one), TURNED, generator).numpy() for _ in range(turned)]
    return Windows.from_arrays(
        np.concatenate([one, *copies]), rate_hz=rate_hz, channels="acc", subjects=people * (1 + turned),
        y=y * (1 + turned), label_names=[name for name in ORDER if name in set(y)], dataset="activities",
    )  # fmt: skip


def network(train: Windows, widths: tuple[int, ...] = (64, 128, 256)) -> Strided:
    """Return an encoder with initial weights that standardises as these windows ask for."""
    statistics = train.statistics()
    return Strided(3, statistics["mean"], statistics["std"], widths=widths)


def forest(corpora: list[Corpus], turned: int) -> ForestClassifier:
    """Return a forest whose file has less than 2 MB."""
    return ForestClassifier(trees=200).fit(learnt_from(corpora, RATE_HZ, 80 // (1 + turned), turned=turned))


def untrained(corpora: list[Corpus]) -> TransferClassifier:
    """Return the logistic head on features of an encoder with initial weights, and on statistics."""
    train = learnt_from(corpora, RATE_HZ, MOST, turned=1)
    return TransferClassifier(network(train), LogisticHead(n_augmented_copies=0), mode="random-frozen").fit(train)


def supervised(
    corpora: list[Corpus], rotation: float | None, steps: int, widths: tuple[int, ...] = (64, 128, 256)
) -> TransferClassifier:
    """Return an encoder and a head that are trained on the labels alone."""
    train = learnt_from(corpora, RATE_HZ, MOST, turned=0)
    turn = TURNED if rotation is None else ({"name": "rotation", "sd_degrees": rotation},)
    training = Training(
        schedule="warmup-cosine", optimizer="adamw", weight_decay=0.05, steps=steps, batch_size=128,
        augmentations=[*turn, *AUGMENTED],
    )  # fmt: skip
    head = MLPHead(hidden=(64,), dropout=0.3)
    return TransferClassifier(network(train, widths), head, mode="scratch", training=training).fit(train)


def released(corpora: list[Corpus], encoder: Path) -> TransferClassifier:
    """Return the logistic head on a pretrained encoder."""
    train = learnt_from(corpora, 50, MOST, turned=1)
    return TransferClassifier(encoder, LogisticHead(n_augmented_copies=0)).fit(train)


KINDS: dict[str, Callable[[list[Corpus]], Model]] = {
    "forest": lambda corpora: forest(corpora, 0),
    "forest-turned": lambda corpora: forest(corpora, 1),
    "untrained": untrained,
    "supervised-turned": lambda corpora: supervised(corpora, None, 500),
    "supervised-45": lambda corpora: supervised(corpora, 45, 500),
}


def probabilities(model: Model, corpus: Corpus, labels: tuple[str, ...]) -> np.ndarray:
    """Return (windows, classes) in `ORDER`; 0 for classes that the model does not know."""
    said = np.zeros((len(corpus.x), len(ORDER)))
    said[:, [ORDER.index(name) for name in labels]] = model.predict_proba(torch.from_numpy(corpus.x))
    return said


def scores(corpus: Corpus, guesses: np.ndarray) -> dict[str, float]:
    """Return macro F1 by placement, over the classes that another corpus has too, on windows of these."""
    judged = ~np.isin(corpus.names, ONLY_ONE)
    found = {}
    for place in sorted(set(corpus.places.tolist())):
        here = judged & (corpus.places == place)
        labels = sorted(set(corpus.names[here]))
        found[place] = float(f1_score(corpus.names[here], guesses[here], labels=labels, average="macro"))
    return found


def compare(kinds: list[str], data: Path, out: Path, rows: Path) -> None:
    """Print macro F1 of each kind of model by corpus and placement, and the means; append them to a table."""
    corpora = [labelled(name, data, RATE_HZ, SECONDS) for name in CLASSES]
    for kind in kinds:
        table: dict[tuple[str, str], float] = {}
        for corpus in corpora:
            begin = time.perf_counter()
            others = [each for each in corpora if each is not corpus]
            if kind == "released":
                encoder = released_run(corpus.name, data, out).encoder_path(None)
                if not encoder.exists():
                    continue
                others = [labelled(each.name, data, 50, SECONDS) for each in others]
                model: Model = released(others, encoder)
                tested = labelled(corpus.name, data, 50, SECONDS)
            else:
                model, tested = KINDS[kind](others), corpus
            labels = tuple(name for name in ORDER if any(name in each.names for each in others))
            said = np.array(ORDER)[probabilities(model, tested, labels).argmax(axis=1)]
            for place, score in scores(tested, said).items():
                table[corpus.name, place] = score
            print(kind, corpus.name, f"{time.perf_counter() - begin:.0f} s", flush=True)
        line = pd.Series(table)
        written = line.rename_axis(["corpus", "placement"]).rename("macro_f1").round(4).reset_index().assign(kind=kind)
        written.to_csv(rows, mode="a", header=not rows.exists(), index=False, lineterminator="\n")
        print(
            kind, line.round(3).to_dict(), "by placement:", line.groupby(level=1).mean().round(3).to_dict(), flush=True
        )
        print(kind, f"mean over placements {line.groupby(level=1).mean().mean():.3f}", flush=True)


@dataclasses.dataclass(frozen=True)
class Said:
    """What a model that never saw a corpus says of its windows.

    Attributes:
        corpus: the windows.
        probability: (windows, classes) in `ORDER`.
        distance: (windows, 2) from the windows that the model was trained on.
        known: which windows are of a class that the model knows.
    """

    corpus: Corpus
    probability: np.ndarray
    distance: np.ndarray
    known: np.ndarray


def left_out(corpora: list[Corpus], kind: str) -> list[Said]:
    """Return what is said of each corpus by a model of the others."""
    found = []
    for corpus in corpora:
        others = [each for each in corpora if each is not corpus]
        model = KINDS[kind](others)
        known = np.array([name for name in ORDER if any(name in each.names for each in others)])
        geometry = geometry_of(others)
        distance = geometry.distance(torch.from_numpy(corpus.x))
        said = Said(corpus, probabilities(model, corpus, tuple(known)), distance, np.isin(corpus.names, known))
        print(
            kind,
            corpus.name,
            {place: round(score, 3) for place, score in scores(corpus, guesses(said)).items()},
            flush=True,
        )
        found.append(said)
    return found


def halves(corpora: list[Corpus], kind: str) -> list[Said]:
    """Return what is said of the people of all corpora by models of the other half of them."""
    found = []
    for half in (0, 1):
        tested, train = [], []
        for corpus in corpora:
            people = np.unique(corpus.people)
            mine = np.isin(corpus.people, people[half::2])
            tested.append(part(corpus, mine))
            train.append(part(corpus, ~mine))
        model = KINDS[kind](train)
        for corpus in tested:
            said = probabilities(model, corpus, ORDER)
            found.append(Said(corpus, said, np.zeros((len(said), 2)), np.ones(len(said), bool)))
    return found


def part(corpus: Corpus, rows: np.ndarray) -> Corpus:
    """Return some of a corpus's windows."""
    return Corpus(corpus.name, *(value[rows] for value in (corpus.x, corpus.names, corpus.places, corpus.people)))


def guesses(said: Said) -> np.ndarray:
    """Return the most probable class of each window."""
    return np.array(ORDER)[said.probability.argmax(axis=1)]


def geometry_of(corpora: list[Corpus]) -> Rejection:
    """Return the distance from training windows and a rotated copy of each, since a sensor may be worn in any direction."""
    train = learnt_from(corpora, RATE_HZ, MOST, turned=1)
    assert train.y is not None
    return Rejection.fitted(train.array(), train.y, len(train.label_names))


def calibrated(geometry: Rejection, said: list[Said]) -> Rejection:
    """Set temperature and thresholds by what was said of corpora left out, each counting as much as any other."""
    rows = [np.flatnonzero(each.known)[:: max(1, int(each.known.sum()) // CALIBRATED)] for each in said]
    pairs = list(zip(said, rows, strict=True))
    people = np.concatenate([each.corpus.people[some] for each, some in pairs])
    return geometry.calibrate(
        np.concatenate([each.probability[some] for each, some in pairs]),
        np.concatenate([each.distance[some] for each, some in pairs]),
        np.concatenate([[ORDER.index(name) for name in each.corpus.names[some]] for each, some in pairs]),
        np.unique(people, return_inverse=True)[1],
    )


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error in ten bins of equal width (Guo et al. 2017)."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    sums = np.bincount(bins, confidence - right, minlength=10)
    return float(np.abs(sums).sum() / len(right))


def judged(said: list[Said]) -> pd.DataFrame:
    """Return macro F1, calibration and the share called unknown, by corpus and placement.

    Temperature and thresholds that a corpus is judged with come from the other corpora that were left out.
    """
    lines = []
    for each in said:
        rest = [other for other in said if other is not each]
        rejection = calibrated(geometry_of([other.corpus for other in rest]), rest)
        tempered, right = rejection.tempered(each.probability), guesses(each) == each.corpus.names
        beyond = rejection.beyond(tempered, each.distance)
        for place, score in scores(each.corpus, guesses(each)).items():
            here = each.known & (each.corpus.places == place)
            raw, mild = (one[here].max(axis=1) for one in (each.probability, tempered))
            line = {"corpus": each.corpus.name, "placement": place, "people": len(set(each.corpus.people[here]))}
            line |= {"windows": int(here.sum()), "macro_f1": score, "accuracy": float(right[here].mean())}
            line |= {"ece": calibration_error(mild, right[here]), "ece_raw": calibration_error(raw, right[here])}
            lines.append(line | {"confidence": float(mild.mean()), "unknown": float(beyond[here].mean())})
    return pd.DataFrame(lines)


def counts(said: list[Said], judge: str) -> pd.DataFrame:
    """Return windows by corpus, placement, true and predicted class."""
    keys = [
        key
        for each in said
        for key in zip(each.corpus.places.tolist(), each.corpus.names.tolist(), guesses(each).tolist(), strict=True)
        for key in [(judge, each.corpus.name, *key)]
    ]
    lines = [(*key, count) for key, count in sorted(Counter(keys).items())]
    return pd.DataFrame(lines, columns=["judge", "corpus", "placement", "true", "predicted", "windows"])


def ship(corpora: list[Corpus], kind: str, said: list[Said], table: pd.DataFrame, path: Path) -> None:
    """Fit the model on all corpora, calibrate it on those left out, and write it with what it is worth."""
    model = KINDS[kind](corpora)
    model.rejection_ = calibrated(geometry_of(corpora), said)
    worth = {
        place: {
            "macro_f1": round(float(mine["macro_f1"].mean()), 3),
            "corpora": dict(zip(mine["corpus"], mine["macro_f1"].round(3).tolist(), strict=True)),
        }
        for place, mine in table.groupby("placement")
    }
    cards = [DATASETS[corpus.name] for corpus in corpora]
    about = {
        "judged": worth,
        "subjects": sorted({person for corpus in corpora for person in corpus.people.tolist()}),
        "licence": "Apache-2.0, as Otolith",
        "data": [{name: getattr(card, name) for name in ("title", "licence", "origin", "cite")} for card in cards],
        "made_by": provenance(),
    }
    model.save(path, label_names=list(ORDER), about=about)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, temperature {float(model.rejection_.temperature):.2f}")


def main() -> None:
    """Compare kinds of models, or judge one and ship it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("runs/release-encoder"))
    parser.add_argument("--compare", nargs="+", choices=(*KINDS, "released"), metavar="KIND")
    parser.add_argument("--kind", default=SHIPPED, choices=KINDS)
    parser.add_argument("--rows", type=Path, default=Path("results/activity-model.csv"))
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.compare:
        compare(given.compare, given.data, given.out, given.rows)
        return
    commit = provenance()["commit"]
    corpora = [labelled(name, given.data, RATE_HZ, SECONDS) for name in CLASSES]
    said = left_out(corpora, given.kind)
    table = judged(said)
    print(table.round(3).to_string(index=False))
    print(table.groupby("placement")[["macro_f1", "ece", "ece_raw", "unknown"]].mean().round(3).to_string())
    inside = halves(corpora, given.kind)
    rows = pd.concat([counts(said, "without the corpus"), counts(inside, "without half of the people")])
    rows.assign(commit=commit).to_csv(given.rows, index=False, lineterminator="\n")
    if given.save:
        ship(corpora, given.kind, said, table, given.save)


if __name__ == "__main__":
    main()
