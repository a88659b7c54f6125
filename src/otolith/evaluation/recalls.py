"""Result rows of cross-modal retrieval on held-out subjects."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from otolith.checkpoints import checkpoint, provenance
from otolith.classifiers import prompts as zeroshot
from otolith.classifiers.features import embed
from otolith.data.windows import Windows
from otolith.evaluation import retrieval
from otolith.evaluation.plan import FoldSeed
from otolith.storage.files import fingerprint, write_text
from otolith.storage.records import _read


@dataclasses.dataclass(frozen=True)
class Recall:
    """One search of held-out people's windows in another modality and back; see `zeroshot.retrieval` for the recalls.

    `there_1` is from a window to its vector of the modality, `back_1` from such a vector to a window, each at 1, 5 and 10;
    `_lot` is what drawing by lot would give; the rest as in `Row`.
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
    there_1: float
    there_5: float
    there_10: float
    back_1: float
    back_5: float
    back_10: float
    there_1_lot: float
    there_5_lot: float
    there_10_lot: float
    back_1_lot: float
    back_5_lot: float
    back_10_lot: float
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
    only_there: bool = False,
) -> Iterator[Recall]:
    """Yields how well each encoder's held-out people's windows find their words, pictures and the like, and are found.

    Args:
        windows: with paired vectors; labels are not used.
        plan: from `fold_seeds`; those that share encoder and test people are searched once.
        encoders: the checkpoint for a unit.
        folder: recalls are kept there, one JSON file each.
        allow_seen: also judge encoders that saw test people in pretraining; their recalls say so.
        only_there: compute nothing.

    Raises:
        ValueError: windows without pairs, an encoder without a head for any of them or with one of another size, an encoder
            that does not fit the windows or has seen a test person, or a damaged file.
    """
    if not windows.paired:
        raise ValueError("these windows have no pairs, so there is nothing to find; run first: otolith pair")
    folder.mkdir(parents=True, exist_ok=True)
    code, content = provenance.code_version(), windows.content_hash
    loaded: dict[Path, checkpoint.Checkpoint] = {}
    done = set()
    for unit in plan:
        path = encoders(unit)
        if only_there and not path.exists():
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
        seen = {f"{windows.dataset}:{person}" for person in unit.split.test} & set(encoder.about.get("subjects", ()))
        if seen and not allow_seen:
            raise ValueError(
                f"'{path}' was pretrained on test people ({', '.join(sorted(seen))}); pretrain without them, or allow it "
                "(--allow-seen) and have every recall say so"
            )
        heads = {name: zeroshot.projection(encoder.heads, name) for name in windows.paired}
        if not any(heads.values()):
            raise ValueError(
                f"'{path}' has no head for {' or '.join(heads)}; only an objective with pairs leaves one (primus)"
            )
        for modality, head in heads.items():
            if head is None:
                continue
            name = [content, encoder.sha256, modality, dataclasses.asdict(unit.split), code]
            file = folder / f"{fingerprint(name)[:24]}.json"
            if not file.exists() and not only_there:
                recall = _recall(windows, unit, encoder, modality, head, bool(seen), file.stem)
                write_text(file, json.dumps(dataclasses.asdict(recall), indent=1))
            if file.exists():
                yield _read(file, Recall)


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
        raise ValueError(f"no window of {', '.join(unit.split.test)} has a pair of {modality}; leave that modality out")
    key = windows.paired[modality][torch.from_numpy(rows)]
    if len(head["weight"]) != key.shape[1]:
        raise ValueError(
            f"the head for {modality} gives {len(head['weight'])} numbers and the vectors have {key.shape[1]}; pair the "
            "corpus with the encoder that the checkpoint was pretrained with"
        )
    query = torch.nn.functional.linear(embed(encoder.encoder, windows[rows]), head["weight"], head["bias"])
    found = retrieval.retrieval(query, key)
    numbers = {
        f"{way}_{k}{lot}": value
        for way, lot, values in (
            ("there", "", found.there),
            ("there", "_lot", found.there_by_lot),
            ("back", "", found.back),
            ("back", "_lot", found.back_by_lot),
        )
        for k, value in zip(retrieval.AT, values, strict=True)
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
