"""Official files -> recordings; one file a corpus, its docstring the corpus's card. No windows and no torch here."""

from otolith.datasets import (
    aria,
    capture24,
    ego4d,
    egoexo4d,
    folder,
    gopro,
    hapt,
    mhealth,
    motionsense,
    myogym,
    nhanes,
    pamap2,
    realworld,
    spar,
    synthetic,
    ucihar,
    utd_mhad,
    wharf,
    wisdm,
)
from otolith.datasets.card import Dataset

DATASETS: dict[str, Dataset] = {
    "aria": aria.DATASET,
    "capture24": capture24.DATASET,
    "ego4d": ego4d.DATASET,
    "egoexo4d": egoexo4d.DATASET,
    "gopro": gopro.DATASET,
    "hapt": hapt.DATASET,
    "mhealth": mhealth.DATASET,
    "motionsense": motionsense.DATASET,
    "myogym": myogym.DATASET,
    "nhanes": nhanes.DATASET,
    "own": folder.DATASET,
    "pamap2": pamap2.DATASET,
    "realworld": realworld.DATASET,
    "spar": spar.DATASET,
    "synthetic": synthetic.DATASET,
    "ucihar": ucihar.DATASET,
    "utd-mhad": utd_mhad.DATASET,
    "wharf": wharf.DATASET,
    "wisdm": wisdm.DATASET,
}
"""Every corpus by name. A new one is one file, one line here and one small test."""

__all__ = ["DATASETS", "Dataset"]
