"""Choose settings of a classifier with scikit-learn, on people who are left out. It needs Otolith and the extra `demo`."""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold

import otolith as ot


def main() -> None:
    """Search C and the augmented copies of the few-shot head; score the choice on people that the search never saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data", help="folder of the prepared corpora (default: data)")
    parser.add_argument("--shots", type=int, default=10, help="labelled windows per class (default: 10)")
    given = parser.parse_args()

    windows = ot.load_dataset("spar", given.data).windows(seconds=2, channels="acc")
    train, _, test = windows.split_by_subject(folds=5, validation=0, seed=0)[0]
    few = train.few_shot(given.shots, seed=0)
    x, labels = few.array().numpy(), np.array([few.label_names[number] for number in few.y])

    # SPAR is one of the corpora of the shipped encoder: use an encoder that has not seen the people, here an untrained one
    encoder = ot.encoders.Strided.for_windows(train)
    model = ot.TransferClassifier(encoder, ot.LogisticHead(whiten=None, self_training_rounds=0))
    grid = {"head__C": [0.01, 0.1, 1.0], "head__n_augmented_copies": [0, 4]}
    # Folds by person: with random folds, windows of the same person would be on both sides and the score too high
    search = GridSearchCV(model, grid, scoring="f1_macro", cv=GroupKFold(3)).fit(x, labels, groups=few.subject)

    for settings, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"{score:.3f}  {settings}")
    truth = np.array([test.label_names[number] for number in test.y])
    print(f"chosen: {search.best_params_}")
    print(f"macro F1 on people left out: {search.score(test.array().numpy(), truth):.3f}")


if __name__ == "__main__":
    main()
