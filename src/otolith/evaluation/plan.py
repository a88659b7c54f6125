"""Plan the protocol's rows: folds by subject x labels per class x seeds x methods, checked before anything is computed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from otolith.checkpoints import checkpoint, provenance
from otolith.classifiers import prompts as zeroshot
from otolith.classifiers.baselines import CLASSICAL
from otolith.classifiers.heads import HEADS
from otolith.classifiers.settings import arguments_of
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.conversion import check_number
from otolith.data.splits import Split, by_subject, draw_shots, fixed
from otolith.data.windows import Windows
from otolith.evaluation.arms import MODES, arm_arguments, mode_of
from otolith.storage.files import fingerprint

PRETRAINED = ("frozen", "finetune", "zero-shot")
"""Modes that use the weights of a checkpoint."""


@dataclasses.dataclass(frozen=True)
class FoldSeed:
    """A fold and a seed, which share one encoder and one set of frozen features.

    Attributes:
        split: the subjects of each side.
        seed: of the labelled windows and of what is trained on them.
        fold_seed: of the partition into folds.
        pretraining_seed: of the encoder.
    """

    split: Split
    seed: int
    fold_seed: int
    pretraining_seed: int


def fold_seeds(
    windows: Windows,
    *,
    folds: int = 5,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    fold_seed: int | None = None,
    test: Sequence[str] | None = None,
    validation: float = 0.2,
    encoder_per_seed: bool = False,
) -> list[FoldSeed]:
    """Return the folds and seeds of a protocol, in the order in which they are computed.

    Args:
        windows: labelled windows; only subjects who have some take part.
        folds: number of folds by subject.
        seeds: each draws its own windows and initial weights, and its own folds unless `fold_seed` is given.
        fold_seed: one partition into folds for all seeds, so that all can share one pretrained encoder per fold.
        test: these subjects are tested and no others, instead of folds: a corpus's official split. The others train, and the
            seed draws which of them validate.
        encoder_per_seed: each seed also pretrains its own encoder where `fold_seed` gives all seeds the same folds, so that
            means and intervals contain what the pretraining's seed changes. Without `fold_seed` it is always so.
        validation: share of the subjects not tested who validate; 0: none, where nothing is stopped or selected by them.

    Raises:
        ValueError: see `splits.by_subject` and `splits.fixed`.
    """
    check_protocol(folds=folds, seeds=seeds, fold_seed=fold_seed, validation=validation)
    subjects = [windows.subject_names[number] for number in np.unique(windows.subject)]
    planned = []
    for seed in seeds:
        draw = seed if fold_seed is None else fold_seed
        if test is None:
            splits = by_subject(subjects, folds=folds, validation=validation, seed=draw)
        else:
            splits = [fixed(subjects, test, validation=validation, seed=draw)]
        pretraining = seed if encoder_per_seed else draw
        planned += [FoldSeed(split, seed, draw, pretraining) for split in splits]
    return planned


def check_protocol(
    *,
    folds: int = 2,
    seeds: Sequence[int] = (0,),
    fold_seed: int | None = None,
    test: Sequence[str] | None = None,
    validation: float = 0.0,
    shots: Sequence[int | None] = (None,),
    modes: Sequence[str] = ("frozen",),
    validation_windows: int | Literal["shots"] | None = None,
    encoder_per_seed: bool = False,  # noqa: ARG001 - any truth value will do
) -> None:
    """Raise ValueError, which names it, for an argument of a protocol that is out of its range."""
    check_number("folds", folds, least=2, whole=True)
    for name, values in (("seeds", seeds), ("modes", modes), ("shots", shots)):
        if not len(values) or len(set(values)) < len(values):
            raise ValueError(f"{name} is {list(values)}; expected at least one, and each once")
    if test is not None and not len(test):
        raise ValueError("test is empty; expected names of subjects, or none for folds")
    for seed in (*seeds, *([] if fold_seed is None else [fold_seed])):
        check_number("a seed", seed, least=0, whole=True)
    for count in (*shots, validation_windows):
        if count is not None and count != "shots":
            check_number("a number of windows (shots, validation_windows)", count, least=1, whole=True)
    check_number("validation", validation, least=0, below=1)


@dataclasses.dataclass(frozen=True)
class PlannedRow:
    """A row that is to be computed: all that it depends on, and the hash of that.

    Attributes:
        unit: fold and seed.
        encoder: path of the checkpoint.
        sha256: hash of the checkpoint's file.
        arm: name of the arm, which becomes the row's `mode`.
        shots: labelled windows per class; None: all.
        classifier: all arguments of the classifier, defaults included, with `mode`.
        validates: whether validation windows stop or choose anything; they do nothing for a head that is fitted in closed
            form on a frozen encoder.
        validation_windows: upper limit of their number, as of `planned_rows`.
        seen: test subjects that the encoder saw in pretraining.
        fingerprint: names the row's file.
    """

    unit: FoldSeed
    encoder: Path
    sha256: str
    arm: str
    shots: int | None
    classifier: dict[str, Any]
    validates: bool
    validation_windows: int | Literal["shots"] | None
    seen: tuple[str, ...]
    fingerprint: str

    @property
    def mode(self) -> str:
        """The mode of the arm, one of `MODES`."""
        return str(self.classifier["mode"])

    def held(self, windows: Windows) -> np.ndarray:
        """Return the rows of the validation windows, ascending; none if nothing is validated. They follow from the plan and
        are not kept, as there may be millions."""
        limit = self.validation_windows
        return _validation_rows(windows, self.unit, limit, self.shots) if self.validates else np.arange(0)


def planned_rows(
    windows: Windows,
    plan: Sequence[FoldSeed],
    encoders: Callable[[FoldSeed], Path],
    *,
    shots: Sequence[int | None] = (2, 5, 10, 50, 100, None),
    modes: Sequence[str] = ("frozen", "finetune", "scratch", "forest"),
    transfer: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    prompts: zeroshot.Prompts | None = None,
    validation_windows: int | Literal["shots"] | None = None,
    allow_seen: bool = False,
) -> list[PlannedRow]:
    """Return the rows of a protocol, planned and checked before anything is computed.

    Args:
        windows: the labelled corpus.
        plan: from `fold_seeds`.
        encoders: the checkpoint for a fold and seed; pretrained without its test subjects.
        shots: windows per class drawn from the training subjects; None: all. A class with fewer gives all it has, and the
            row's `fewer` records it.
        modes: of `MODES`, or names of `overrides` that name one of them. `zero-shot` gives one row per fold and seed, with
            0 shots.
        transfer: arguments of `TransferClassifier` for all modes, as `TransferClassifier.from_arguments` takes them.
        overrides: further arguments by mode, merged into `transfer`; with `mode` among them, an arm under its own name.
        prompts: sentences by label, for arms with `TextHead`; None: the labels' own words.
        validation_windows: upper limit of the number of validation windows, drawn once per seed and fold. `shots`: as many
            per class as are drawn to train on, so that stopping and choosing take no more labels than training. None: all.
        allow_seen: also judge encoders that saw test subjects in pretraining; their rows record it.

    Raises:
        ValueError: an unknown mode; windows without labels; an encoder that does not fit the windows or has seen a test
            subject; zero-shot with an encoder without a head for text; or a label without prompts.

    Source: the protocol of Fortes Rey et al. 2023 (arXiv 2307.01168): macro F1 over the corpus's classes, folds by subject,
    every subject tested once per seed.
    """
    check_protocol(shots=shots, modes=modes, validation_windows=validation_windows)
    transfer, overrides = transfer or {}, overrides or {}
    if unknown := [name for name in modes if mode_of(name, overrides) not in MODES]:
        raise ValueError(
            f"unknown mode '{unknown[0]}'; expected some of {', '.join(MODES)}, or an arm whose settings name one of them"
        )
    if windows.y is None:
        raise ValueError("these windows have no labels, so nothing can be scored")
    loaded: dict[Path, checkpoint.Checkpoint] = {}
    planned = []
    for unit in plan:
        path = encoders(unit)
        if path not in loaded:
            loaded[path] = checkpoint.load(path)
        seen = _seen(windows, loaded[path], path, unit.split, allow_seen)
        held = {
            count: hashlib.sha256(_validation_rows(windows, unit, validation_windows, count).data).hexdigest()
            for count in dict.fromkeys(count for count, _ in arms_by_shots(shots, modes, overrides))
        }
        for count, arm in arms_by_shots(shots, modes, overrides):
            arguments = arm_arguments(arm, transfer, overrides, prompts)
            classifier = _classifier_arguments(windows, loaded[path], path, arm, arguments, unit.seed)
            own, sha = _validates(classifier), loaded[path].sha256
            row = PlannedRow(unit, path, sha, arm, count, classifier, own, validation_windows, seen, "")
            name = _identity(windows, row, loaded[path], held[count] if own else "")
            planned.append(dataclasses.replace(row, fingerprint=name))
    return planned


def arms_by_shots(
    shots: Sequence[int | None], modes: Sequence[str], overrides: Mapping[str, Mapping[str, Any]]
) -> list[tuple[int | None, str]]:
    """Return windows per class and arm of every row of a fold and seed; arguments as `planned_rows`."""
    zero_shot = [arm for arm in modes if mode_of(arm, overrides) == "zero-shot"]
    return [(count, arm) for count in shots for arm in modes if arm not in zero_shot] + [(0, arm) for arm in zero_shot]


def _seen(
    windows: Windows, encoder: checkpoint.Checkpoint, path: Path, split: Split, allow_seen: bool
) -> tuple[str, ...]:
    """Test subjects that the encoder saw; a ValueError if they are not allowed."""
    subjects = {f"{windows.dataset}:{subject}" for subject in split.test}
    seen = sorted(subjects & set(encoder.about.get("subjects", ())))
    if seen and not allow_seen:
        raise ValueError(
            f"'{path}' was pretrained on test subjects ({', '.join(seen)}): scores would not be of held-out subjects; "
            "pretrain without them, or allow it (--allow-seen), which every row then records"
        )
    return tuple(seen)


def _validates(classifier: Mapping[str, Any]) -> bool:
    mode = classifier["mode"]
    if mode in (*CLASSICAL, "zero-shot"):
        return False
    return mode not in ("frozen", "random-frozen") or not HEADS[classifier["head"]["name"]].closed_form


def _validation_rows(
    windows: Windows, unit: FoldSeed, limit: int | Literal["shots"] | None, shots: int | None
) -> np.ndarray:
    held = windows.rows_for_subjects(unit.split.validation)
    if limit == "shots":
        assert windows.y is not None
        drawn = draw_shots(windows.y[held], shots or None, seed=unit.seed * 1000 + unit.split.fold)
        return np.asarray(held[drawn])
    if limit is not None and len(held) > limit:
        random = np.random.default_rng([unit.seed, unit.split.fold, 0x7A11])
        held = np.sort(random.choice(held, limit, replace=False))
    return held


def _classifier_arguments(
    windows: Windows,
    encoder: checkpoint.Checkpoint,
    path: Path,
    arm: str,
    arguments: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """All arguments of an arm's classifier, read from the object that they build."""
    mode = arguments["mode"]
    if mode in CLASSICAL:
        return {"mode": mode, **arguments_of(CLASSICAL[mode](seed=seed))}
    if mode == "zero-shot" and zeroshot.projection(encoder.heads, "text") is None:
        raise ValueError(
            f"'{path}' has no head for text, so it cannot classify zero-shot; leave the mode {arm} out for this objective, "
            "or pretrain it with paired text (a recipe's section [paired])"
        )
    built = TransferClassifier.from_arguments({**arguments, "seed": seed}).arguments()
    difference = encoder.signal.difference(windows.contract)
    if difference and built.get("first_layer") != "new":
        raise ValueError(
            f"'{path}' does not fit these windows: {difference}; prepare and cut them as it was trained, or give the arm "
            f'{arm} first_layer = "new"'
        )
    if built["head"]["name"] == "text":
        assert windows.y is not None
        names = [windows.label_names[k] for k in np.unique(windows.y)]
        zeroshot.sentences(names, built["head"]["prompts"])
        built["head"]["text"] = zeroshot.words_of(encoder.about, built["head"]["text"])
    if mode == "zero-shot":
        del built["training"]
    return built


def _identity(windows: Windows, row: PlannedRow, encoder: checkpoint.Checkpoint, held: str) -> str:
    """The name of a row: a hash of the built classifier and of all else that the row depends on, and of nothing else: a
    classical method needs no encoder, a newly initialised one no weights. `held` is the hash of the validation rows."""
    made_of: Any = None
    if row.mode not in CLASSICAL:
        weights = encoder.sha256 if row.mode in PRETRAINED else encoder.encoder.arguments()
        made_of = [type(encoder.encoder).__name__, weights]
    name = {
        "windows": windows.content_hash,
        "encoder": made_of,
        "arm": row.arm,
        "classifier": row.classifier,
        "split": dataclasses.asdict(row.unit.split),
        "held": held,
        "shots": row.shots,
        "seed": row.unit.seed,
        "code": provenance.code_version(),
    }
    return fingerprint(name)[:24]
