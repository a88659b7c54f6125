"""BibTeX of what was used: corpora, encoders, objectives and methods by their names in recipes and rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from otolith import __version__

_FILE = Path(__file__).with_name("references.bib")

KEYS: dict[str, tuple[str, ...]] = {
    # corpora
    "aria": ("engel2023aria",),
    "capture24": ("chan2024capture24",),
    "dsads": ("barshan2014dsads",),
    "ego4d": ("grauman2022ego4d",),
    "egoexo4d": ("grauman2024egoexo4d",),
    "hapt": ("reyesortiz2016hapt",),
    "lis-emg-imu": ("pacifici2020lis",),
    "mhealth": ("banos2014mhealth",),
    "motionsense": ("malekzadeh2019motionsense",),
    "myo-readings": ("myoreadings",),
    "myogym": ("koskimaki2017myogym",),
    "nhanes": ("belcher2021nhanes",),
    "pamap2": ("reiss2012pamap2",),
    "realworld": ("sztyler2016realworld",),
    "sp-sw-har": ("mateysanz2023spswhar",),
    "spar": ("burns2018spar",),
    "ucihar": ("anguita2013ucihar",),
    "utd-mhad": ("chen2015utdmhad",),
    "wharf": ("bruno2014wharf",),
    "wisdm": ("weiss2019wisdm",),
    # encoders
    "tpn": ("saeed2019multitask",),
    "deepconvlstm": ("ordonez2016deepconvlstm",),
    "resnet": ("he2016resnet",),
    "transformer": ("vaswani2017attention",),
    # encoders and objectives of one name
    "cpc": ("oord2018cpc", "haresamudram2021cpc"),
    "primus": ("das2025primus",),
    # objectives
    "simclr": ("chen2020simclr", "tang2020contrastive"),
    "cpc_reconstruction": ("oord2018cpc", "haresamudram2021cpc", "haresamudram2022assessing"),
    "reconstruction": ("haresamudram2022assessing",),
    "transform_discrimination": ("saeed2019multitask",),
    # methods
    "finetune": ("fortesrey2023dontfreeze",),
    "zero-shot": ("das2025primus",),
    "forest": ("breiman2001forests",),
    "svm": ("cortes1995svm",),
    "minirocket": ("dempster2021minirocket",),
}
"""Entries of `references.bib` by name. Otolith's own encoder `strided` and objective `gravity_aware` have none."""


def used(rows: pd.DataFrame) -> list[str]:
    """Return the names that rows use: corpora, encoders, objectives and modes; those without an entry are left out."""
    found = dict.fromkeys(
        name
        for column in ("dataset", "pretrained_on", "encoder", "objective", "mode")
        if column in rows
        for value in rows[column].unique()
        for name in re.split(r"[ ,+]+", str(value))
    )
    return [name for name in found if name in KEYS]


def bibtex(names: Iterable[str]) -> str:
    """Return the entries of these names and of Otolith; empty without names.

    Args:
        names: of `KEYS`.
    """
    wanted = dict.fromkeys(key for name in names for key in KEYS[name])
    if not wanted:
        return ""
    own = f"@software{{otolith, title = {{Otolith}}, version = {{{__version__}}}}}"
    return "\n\n".join([own, *(entries()[key] for key in wanted)]) + "\n"


def entries() -> dict[str, str]:
    """Return the entries of `references.bib` by key."""
    found = re.split(r"\n(?=@)", _FILE.read_text(encoding="utf-8"))
    return {re.match(r"@\w+\{([^,]+),", entry.strip())[1]: entry.strip() for entry in found}  # type: ignore[index]
