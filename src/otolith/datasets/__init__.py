"""Readers that turn official files into recordings: one module per corpus, whose docstring is the corpus's card.

Nothing here cuts windows or imports torch.
"""

from otolith import plugins
from otolith.datasets import (
    aria,
    capture24,
    dsads,
    ego4d,
    egoexo4d,
    gopro,
    hapt,
    lis_emg_imu,
    mhealth,
    motionsense,
    myo_readings,
    myogym,
    nhanes,
    own,
    pamap2,
    realworld,
    sp_sw_har,
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
    "dsads": dsads.DATASET,
    "ego4d": ego4d.DATASET,
    "egoexo4d": egoexo4d.DATASET,
    "gopro": gopro.DATASET,
    "hapt": hapt.DATASET,
    "lis-emg-imu": lis_emg_imu.DATASET,
    "mhealth": mhealth.DATASET,
    "motionsense": motionsense.DATASET,
    "myo-readings": myo_readings.DATASET,
    "myogym": myogym.DATASET,
    "nhanes": nhanes.DATASET,
    "own": own.DATASET,
    "pamap2": pamap2.DATASET,
    "realworld": realworld.DATASET,
    "sp-sw-har": sp_sw_har.DATASET,
    "spar": spar.DATASET,
    "synthetic": synthetic.DATASET,
    "ucihar": ucihar.DATASET,
    "utd-mhad": utd_mhad.DATASET,
    "wharf": wharf.DATASET,
    "wisdm": wisdm.DATASET,
}
"""All corpora by name. To add one, write one module, one line here and one small test."""


def find_dataset(name: str) -> Dataset:
    """Return a corpus by name: one of `DATASETS`, or one that another package adds (see `plugins`).

    Raises:
        ValueError: there is none of this name, or it cannot be loaded.
    """
    return plugins.find(name, DATASETS, "dataset", Dataset)


__all__ = ["DATASETS", "Dataset", "find_dataset"]
