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
    windows: Windows, store: Store, embeddings: Mapping[str, PairedEmbeddings], *, fraction: float = 1.0, seed: int = 0
) -> Windows:
    """Attach to each window its embedding of every modality, if it has one.

    Args:
        windows: windows of one corpus.
        store: the store from which they were cut.
        embeddings: embeddings by the name under which objectives use them.
        fraction: share of recordings that keep their embeddings, drawn independently for each recording; windows of the
            others lose every modality. The recordings of a smaller share are among those of a larger one.
        seed: random seed of this draw.

    Returns:
        The windows with new `paired` and `present`; `cut_hash` and `content_hash` change with them.

    Raises:
        ValueError: windows, store and embeddings are not of one corpus and preparation, or `fraction` is not from 0 to 1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected 0 to 1")
    if windows.dataset != store.dataset or len(windows.values) != 1:
        raise ValueError(
            f"the windows are of '{windows.dataset}' and the store is of '{store.dataset}'; attach embeddings before joining"
        )
    for name, own in embeddings.items():
        if own.store != store.hash:
            raise ValueError(
                f"the embeddings '{name}' were computed for another preparation of '{store.dataset}'; run again: "
                f"otolith pair {store.dataset} --source DIR"
            )
    chosen = np.random.default_rng(seed).random(len(store.entries)) < fraction
    seconds = windows.contract.steps / windows.contract.rate_hz
    paired, present = {}, {}
    for name, own in embeddings.items():
        values, there = own.for_windows(windows.recording, windows.start_s, seconds)
        there &= chosen[windows.recording]
        values[~there] = 0
        paired[name] = torch.from_numpy(values).to(windows.device)
        present[name] = torch.from_numpy(there).to(windows.device)
    pairs = [[name, own.content_hash] for name, own in embeddings.items()]
    return dataclasses.replace(
        windows,
        paired=paired,
        present=present,
        cut_hash=fingerprint({"windows": windows.cut_hash, "pairs": pairs, "fraction": fraction, "seed": seed}),
    )
