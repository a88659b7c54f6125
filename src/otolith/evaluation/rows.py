"""The result row of the protocol."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """One result of the protocol: one fold, seed, mode and number of shots. `docs/protocol.md` explains every column.

    `shots` None means all windows and 0 means zero-shot. `pretraining` and `transfer` are JSON: the settings of the
    encoder's pretraining, and the classifier's arguments. `checkpoint` is a hash of the encoder's file, which holds its
    provenance, and `weights` one of its weights alone. `commit` ends in + if the code had uncommitted changes. `recipe` is
    the whole recipe as JSON, from which `experiments.rerun` makes the row again. `weights` and `recipe` are empty in rows of
    older versions, and `recipe` in rows that no recipe made.
    """

    dataset: str
    windows: str
    objective: str
    encoder: str
    pretrained_on: str
    checkpoint: str
    pretraining: str
    mode: str
    transfer: str
    fold: int
    shots: int | None
    seed: int
    fold_seed: int
    n_train: int
    n_validation: int
    n_test: int
    fewer: str
    accuracy: float
    macro_f1: float
    f1_by_class: str
    f1_by_subject: str
    confusion: str
    steps: int
    seconds: float
    test_subjects: str
    test_seen_in_pretraining: bool
    code: str
    commit: str
    torch: str
    machine: str
    fingerprint: str
    weights: str = ""
    recipe: str = ""
