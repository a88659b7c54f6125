"""Result rows of cross-modal retrieval on held-out subjects."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from otolith.checkpoints import checkpoint, provenance
from otolith.classifiers import prompts
from otolith.classifiers.features import embed
from otolith.data.windows import Windows
from otolith.evaluation import retrieval
from otolith.evaluation.plan import FoldSeed
from otolith.storage.files import fingerprint
from otolith.storage.records import read_record, write_record


@dataclasses.dataclass(frozen=True)
class Recall:
    """Cross-modal recall@k of one encoder on the windows of held-out subjects; `retrieval.Retrieval` defines the recalls.

    `imu_to_paired_r1` is recall@1 from a window to its embedding of `modality`, and `paired_to_imu_r1` from such an
    embedding to a window. `imu_to_paired_chance_r1` and `paired_to_imu_chance_r1` are their chance levels. The fields for
    recall@5 and recall@10 have analogous names. The other fields are those of `Row`.
    """

    dataset: str
    windows: str
    objective: str
    encoder: str
    pretrained_on: str
    checkpoint: str
    pretraining: str
    modality: str
    fold: int
    fold_seed: int
    n_windows: int
    n_keys: int
    imu_to_paired_r1: float
    imu_to_paired_r5: float
    imu_to_paired_r10: float
    paired_to_imu_r1: float
    paired_to_imu_r5: float
    paired_to_imu_r10: float
    imu_to_paired_chance_r1: float
    imu_to_paired_chance_r5: float
    imu_to_paired_chance_r10: float
    paired_to_imu_chance_r1: float
    paired_to_imu_chance_r5: float
    paired_to_imu_chance_r10: float
    seconds: float
    test_subjects: str
    test_seen_in_pretraining: bool
    code: str
    commit: str
    torch: str
    machine: str
    fingerprint: str


def recalls(
    windows: Windows,
    plan: Sequence[FoldSeed],
    encoders: Callable[[FoldSeed], Path],
    *,
    folder: Path,
    allow_seen: bool = False,
    existing_only: bool = False,
) -> Iterator[Recall]:
    """Yield the cross-modal recalls of each encoder on the windows of its held-out subjects.

    Args:
        windows: windows with paired embeddings; labels are not used.
        plan: folds and seeds; those that share an encoder and test subjects are evaluated once.
        encoders: returns the checkpoint of a fold and seed.
        folder: folder of the results, one JSON file per recall.
        allow_seen: also evaluate encoders that saw test subjects in pretraining; their recalls record it.
        existing_only: yield the recalls that are in the folder, and compute none.

    Raises:
        ValueError: the windows have no paired embeddings; an encoder has no head for any of the modalities or one of another
            dimension, does not fit the windows, or has seen a test subject; or a file is damaged.
    """
    if not windows.paired:
        raise ValueError("these windows have no paired embeddings to retrieve; run first: otolith pair")
    folder.mkdir(parents=True, exist_ok=True)
    code, content = provenance.code_version(), windows.content_hash
    loaded: dict[Path, checkpoint.Checkpoint] = {}
    done = set()
    for unit in plan:
        path = encoders(unit)
        if existing_only and not path.exists():
            continue
        if path not in loaded:
            loaded[path] = checkpoint.load(path)
        encoder = loaded[path]
        if difference := encoder.signal.difference(windows.contract):
            raise ValueError(
                f"'{path}' does not fit these windows: {difference}; prepare and cut them as it was trained"
            )
        if (path, unit.split.test) in done:
            continue
        done.add((path, unit.split.test))
        seen = {f"{windows.dataset}:{subject}" for subject in unit.split.test} & set(encoder.about.get("subjects", ()))
        if seen and not allow_seen:
            raise ValueError(
                f"'{path}' was pretrained on test subjects ({', '.join(sorted(seen))}); pretrain without them, or allow it "
                "(--allow-seen), which every recall then records"
            )
        heads = {name: prompts.projection(encoder.heads, name) for name in windows.paired}
        if not any(heads.values()):
            raise ValueError(
                f"'{path}' has no head for {' or '.join(heads)}; pretrain it with an objective that learns "
                "from pairs, such as primus"
            )
        for modality, head in heads.items():
            if head is None:
                continue
            name = [content, encoder.sha256, modality, dataclasses.asdict(unit.split), code]
            file = folder / f"{fingerprint(name)[:24]}.json"
            if not file.exists() and not existing_only:
                recall = _recall(windows, unit, encoder, modality, head, bool(seen), file.stem)
                write_record(file, recall)
            if file.exists():
                yield read_record(file, Recall)


def _recall(
    windows: Windows,
    unit: FoldSeed,
    encoder: checkpoint.Checkpoint,
    modality: str,
    head: Mapping[str, torch.Tensor],
    seen: bool,
    name: str,
) -> Recall:
    started, made_by = time.perf_counter(), provenance.provenance()
    rows = windows.rows_for_subjects(unit.split.test)
    rows = rows[windows.present[modality][torch.from_numpy(rows)].numpy()]
    if not len(rows):
        raise ValueError(
            f"no window of the test subjects {', '.join(unit.split.test)} has an embedding of {modality}; leave this "
            "modality out of the recipe's section [paired]"
        )
    key = windows.paired[modality][torch.from_numpy(rows)]
    if len(head["weight"]) != key.shape[1]:
        raise ValueError(
            f"the head for {modality} has {len(head['weight'])} outputs but the embeddings have {key.shape[1]} dimensions; "
            "pair the corpus with the encoder that the checkpoint was pretrained with"
        )
    query = torch.nn.functional.linear(embed(encoder.encoder, windows[rows]), head["weight"], head["bias"])
    found = retrieval.retrieval(query, key)
    numbers = {
        f"{name}_r{k}": value
        for name in ("imu_to_paired", "imu_to_paired_chance", "paired_to_imu", "paired_to_imu_chance")
        for k, value in zip(retrieval.RECALL_AT, getattr(found, name), strict=True)
    }
    return Recall(
        dataset=windows.dataset,
        windows=windows.cut_hash[:16],
        objective=encoder.about.get("objective", "?"),
        encoder=encoder.about.get("encoder", type(encoder.encoder).__name__),
        pretrained_on=encoder.about.get("pretrained_on", "?"),
        checkpoint=encoder.sha256[:16],
        pretraining=json.dumps(encoder.about.get("settings", {}), sort_keys=True),
        modality=modality,
        fold=unit.split.fold,
        fold_seed=unit.fold_seed,
        n_windows=found.windows,
        n_keys=found.keys,
        **numbers,
        seconds=round(time.perf_counter() - started, 3),
        test_subjects=" ".join(unit.split.test),
        test_seen_in_pretraining=seen,
        code=made_by["code"],
        commit=made_by["commit"] or f"otolith {made_by['otolith']}",
        torch=made_by["torch"],
        machine=made_by["machine"],
        fingerprint=name,
    )
