"""Official files -> recordings; one file a corpus, its docstring the corpus's card. No windows and no torch here."""

from otolith.datasets import motionsense, spar, synthetic
from otolith.datasets.card import Dataset

DATASETS: dict[str, Dataset] = {
    "motionsense": motionsense.DATASET,
    "spar": spar.DATASET,
    "synthetic": synthetic.DATASET,
}
"""Every corpus by name. A new one is one file, one line here and one small test."""

__all__ = ["DATASETS", "Dataset"]
