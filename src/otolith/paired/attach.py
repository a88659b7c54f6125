"""Attach precomputed embeddings of other modalities to windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch

from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.paired import PairedEmbeddings
from otolith.storage.files import fingerprint


def attach(
    windows: Windows, store: Store, vectors: Mapping[str, PairedEmbeddings], *, fraction: float = 1.0, seed: int = 0
) -> Windows:
    """The same windows, each with its vector of every modality, where it has one.

    Args:
        windows: of one corpus.
        store: what they were cut from.
        vectors: by the name under which objectives ask for them.
        fraction: share of recordings that keep their pairs, each by a draw of its own; all windows of another lose every
            modality. The recordings of a smaller share are among those of a larger one.
        seed: of these draws.

    Returns:
        The windows with `paired` and `present`, which replace earlier ones; `identity` and `content` tell them apart.

    Raises:
        ValueError: windows, store and vectors are not of one corpus and preparation; or `fraction` is no share.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected 0 to 1")
    if windows.dataset != store.dataset or len(windows.values) != 1:
        raise ValueError(
            f"the windows are of '{windows.dataset}' and the store of '{store.dataset}'; join after pairing"
        )
    for name, own in vectors.items():
        if own.store != store.hash:
            raise ValueError(
                f"vectors '{name}' were made for another preparation of '{store.dataset}'; run again: "
                f"otolith pair {store.dataset} --source DIR"
            )
    chosen = np.random.default_rng(seed).random(len(store.entries)) < fraction
    seconds = windows.contract.steps / windows.contract.rate_hz
    paired, present = {}, {}
    for name, own in vectors.items():
        values, there = own.of(windows.recording, windows.start_s, seconds)
        there &= chosen[windows.recording]
        values[~there] = 0
        paired[name] = torch.from_numpy(values).to(windows.device)
        present[name] = torch.from_numpy(there).to(windows.device)
    pairs = [[name, own.content_hash] for name, own in vectors.items()]
    return dataclasses.replace(
        windows,
        paired=paired,
        present=present,
        cut_hash=fingerprint({"windows": windows.cut_hash, "pairs": pairs, "fraction": fraction, "seed": seed}),
    )
