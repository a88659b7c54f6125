"""Join the windows of several corpora."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from otolith.data.windows import Windows
from otolith.storage.files import fingerprint


def join(parts: Sequence[Windows]) -> Windows:
    """Join the windows of several corpora, without labels, to pretrain on all of them; no signal is copied.

    Windows of a corpus without a modality have no embedding of it.

    Raises:
        ValueError: there are no parts, a corpus occurs twice, the signal contracts differ, or the embeddings of a modality
            have different dimensions.
    """
    if not parts:
        raise ValueError("no windows to join")
    if len(parts) == 1:
        return parts[0].unlabelled()
    names = [part.dataset for part in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"a corpus occurs twice: {', '.join(names)}; expected different corpora")
    for part in parts[1:]:
        if difference := parts[0].contract.difference(part.contract):
            raise ValueError(f"'{part.dataset}' cannot be joined with '{parts[0].dataset}': {difference}")
    before = np.cumsum([0] + [sum(len(values) for values in part.values) for part in parts]).tolist()
    people = np.cumsum([0] + [len(part.subject_names) for part in parts]).tolist()
    recordings = np.cumsum([0] + [int(part.recording.max(initial=-1)) + 1 for part in parts]).tolist()
    known = [part.variance for part in parts if part.variance is not None]
    placed = [part.placement for part in parts if part.placement is not None]
    paired, present = _joined_pairs(parts)
    return Windows(
        values=tuple(values for part in parts for values in part.values),
        offset=torch.cat([part.offset + first for part, first in zip(parts, before, strict=False)]),
        contract=parts[0].contract,
        y=None,
        label_names=(),
        subject=np.concatenate([part.subject + first for part, first in zip(parts, people, strict=False)]),
        subject_names=tuple(name for part in parts for name in part.qualified_names),
        recording=np.concatenate([part.recording + first for part, first in zip(parts, recordings, strict=False)]),
        start_s=np.concatenate([part.start_s for part in parts]),
        dataset="+".join(names),
        cut_hash=fingerprint([part.cut_hash for part in parts]),
        variance=np.concatenate(known) if len(known) == len(parts) else None,
        placement=np.concatenate(placed) if len(placed) == len(parts) else None,
        paired=paired,
        present=present,
        memmaps=tuple(array for part in parts for array in part.memmaps),
    )


def _joined_pairs(parts: Sequence[Windows]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the paired embeddings of all windows and which windows have them, by modality."""
    paired: dict[str, Tensor] = {}
    present: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for part in parts for name in part.paired):
        dims = {part.dataset: part.paired[name].shape[1] for part in parts if name in part.paired}
        if len(set(dims.values())) > 1:
            found = ", ".join(f"{dim} in '{corpus}'" for corpus, dim in dims.items())
            raise ValueError(
                f"the embeddings '{name}' have different dimensions: {found}; compute them with the same encoder"
            )
        dim = next(iter(dims.values()))
        absent = [torch.zeros(len(part), dim, device=part.device) for part in parts]
        paired[name] = torch.cat([part.paired.get(name, none) for part, none in zip(parts, absent, strict=True)])
        present[name] = torch.cat(
            [part.present.get(name, none[:, 0] > 0) for part, none in zip(parts, absent, strict=True)]
        )
    return paired, present
