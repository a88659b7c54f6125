"""Official files -> recordings; one file a corpus, its docstring the corpus's card. No windows and no torch here."""

from otolith.datasets import (
    capture24,
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
    "capture24": capture24.DATASET,
    "hapt": hapt.DATASET,
    "mhealth": mhealth.DATASET,
    "motionsense": motionsense.DATASET,
    "myogym": myogym.DATASET,
    "nhanes": nhanes.DATASET,
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
