"""The protocol: whole and honest plans, and rows that are computed once."""

import dataclasses
import functools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score

from otolith.checkpoints import checkpoint, provenance
from otolith.classifiers.baselines import CLASSICAL, ForestClassifier, SVMClassifier
from otolith.classifiers.fixed import FixedFeaturesClassifier
from otolith.classifiers.heads import LogisticHead
from otolith.classifiers.heads.logistic import PLAIN
from otolith.classifiers.minirocket import MiniRocketClassifier
from otolith.classifiers.settings import Training, arguments_of
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.splits import draw_shots
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.evaluation import protocol
from otolith.evaluation.arms import MODES as ALL_MODES
from otolith.evaluation.plan import FoldSeed, PlannedRow, fold_seeds, planned_rows
from otolith.evaluation.protocol import collect_rows
from otolith.evaluation.rows import Row

ELSEWHERE = (
    "zero-shot",
    "forest-copies",
    "hydra",
    "minirocket-head",
    "hydra-head",
)  # test_prompts.py and test_hydra.py
MODES = tuple(mode for mode in ALL_MODES if mode not in ELSEWHERE)
KINDS = {mode: getattr(CLASSICAL[mode], "func", CLASSICAL[mode]) for mode in MODES if mode in CLASSICAL}
SEEDS, FOLDS, SHOTS = (0, 1), 3, (2, None)
HEAD: dict[str, Any] = {"name": "mlp", "hidden": [8]}
TRANSFER: dict[str, Any] = {"head": HEAD, "training": {"steps": 3, "batch_size": 16}}
HEADS = {"mlp": HEAD, "plain": {"name": "logistic", **PLAIN}, "few-shot": {"name": "logistic"}}
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
SETTINGS: dict[str, Any] = {"shots": SHOTS, "transfer": TRANSFER}


def encoders(folder: Path, windows: Windows, *, see_everybody: bool = False) -> Callable[[FoldSeed], Path]:
    """Stands in for pretraining: an untrained encoder that standardises by the training people alone."""

    def of(unit: FoldSeed) -> Path:
        split = unit.split
        path = (
            folder
            / f"{windows.cut_hash[:8]}-{unit.fold_seed}-{split.fold}{'-all' if see_everybody else ''}.safetensors"
        )
        if not path.exists():
            torch.manual_seed(unit.fold_seed)
            people = {*split.train, *split.validation, *(split.test if see_everybody else ())}
            about = {
                "objective": "none",
                "encoder": "strided",
                "pretrained_on": "synthetic",
                "settings": {"seed": 5},
                "subjects": sorted(f"{windows.dataset}:{person}" for person in people),
            }
            encoder = Strided(6, **windows.for_subjects(split.train).statistics())
            checkpoint.save(path, encoder, windows.contract, about=about)
        return path

    return of


@pytest.fixture(scope="module")
def some(windows: Windows) -> Windows:
    """A quarter of the windows: 4 or 5 a person and class."""
    return windows[::4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the encoders and the rows of the whole protocol lie."""
    return tmp_path_factory.mktemp("protocol")


@pytest.fixture(autouse=True)
def small_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    sizes = ((ForestClassifier, "trees", 5), (MiniRocketClassifier, "features", 84))
    for kind, name, size in sizes:
        whole = kind.__init__
        monkeypatch.setattr(kind, "__init__", functools.partialmethod(whole, **{name: size}))
    yield
    protocol._features.clear()


def plan(windows: Windows, folder: Path, *, seeds: tuple[int, ...] = SEEDS, **settings: Any) -> list[PlannedRow]:
    """The rows of the protocol, with small settings."""
    return planned_rows(
        windows, fold_seeds(windows, folds=FOLDS, seeds=seeds), encoders(folder, windows), **{**SETTINGS, **settings}
    )


@pytest.fixture
def whole(some: Windows, folder: Path) -> tuple[list[PlannedRow], list[Row]]:
    """The whole protocol: computed by the first test that asks, read by the others."""
    planned = plan(some, folder, modes=MODES)
    return planned, list(protocol.evaluate(some, planned, folder=folder / "rows"))


def arguments(mode: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a row records of its classifier: all arguments, defaults included, but the seed."""
    if mode in CLASSICAL:
        found = {"mode": mode, **arguments_of(CLASSICAL[mode]())}
    else:
        found = TransferClassifier.from_arguments(given).arguments()
    return {name: value for name, value in found.items() if name != "seed"}


def without_seconds(row: Row) -> Row:
    return dataclasses.replace(row, seconds=0.0)


# what is planned


def test_there_is_one_row_for_every_fold_seed_mode_and_number_of_shots(
    whole: tuple[list[PlannedRow], list[Row]], folder: Path
) -> None:
    planned, rows = whole
    found = Counter((row.fold, row.seed, row.mode, row.shots) for row in rows)
    assert set(found) == {(f, s, m, n) for f in range(FOLDS) for s in SEEDS for m in MODES for n in SHOTS}
    assert set(found.values()) == {1} and len({row.fingerprint for row in rows}) == len(rows)
    assert [row.fingerprint for row in rows] == [cell.fingerprint for cell in planned]
    assert {path.name for path in (folder / "rows").iterdir()} == {f"{row.fingerprint}.json" for row in rows}


def test_everybody_is_tested_exactly_once_a_seed(whole: tuple[list[PlannedRow], list[Row]], some: Windows) -> None:
    for seed in SEEDS:
        for mode in MODES:
            rows = [row for row in whole[1] if (row.seed, row.mode, row.shots) == (seed, mode, None)]
            assert sorted(person for row in rows for person in row.test_subjects.split()) == sorted(some.subject_names)
            assert sum(row.n_test for row in rows) == len(some)


def test_predictions_cover_the_test_windows_and_scores_follow_from_them(
    whole: tuple[list[PlannedRow], list[Row]], some: Windows
) -> None:
    for row in whole[1]:
        confusion = np.array(json.loads(row.confusion))
        test = some.for_subjects(row.test_subjects.split())
        assert confusion.sum() == row.n_test == len(test)
        assert confusion.sum(axis=1).tolist() == np.bincount(test.y, minlength=3).tolist()
        hits = np.diag(confusion)
        f1 = 2 * hits / (confusion.sum(axis=0) + confusion.sum(axis=1))
        assert row.macro_f1 == pytest.approx(f1.mean()) and row.accuracy == pytest.approx(hits.sum() / row.n_test)
        assert json.loads(row.f1_by_class) == pytest.approx(dict(zip(some.label_names, f1, strict=True)), abs=1e-6)
        assert list(json.loads(row.f1_by_subject)) == sorted(row.test_subjects.split())


def test_macro_f1_counts_every_class_of_the_corpus_and_a_persons_only_their_own(some: Windows) -> None:
    test = some.for_subjects(["1", "2"])
    test = test[(test.y == 0) | ((test.y == 1) & (test.subject == 0))]  # nobody is fast; only the first is medium
    predicted = np.zeros(len(test), dtype=np.int64)
    scores = protocol.scores(test, predicted)
    slow = f1_score(test.y == 0, predicted == 0)
    assert scores["macro_f1"] == pytest.approx(slow / 3)
    assert json.loads(scores["f1_by_subject"])["2"] == 1.0
    assert np.array(json.loads(scores["confusion"])).shape == (3, 3)


def test_rows_say_how_they_were_made(whole: tuple[list[PlannedRow], list[Row]], some: Windows) -> None:
    for cell, row in zip(*whole, strict=True):
        pretrained = row.mode in ("frozen", "finetune")
        assert row.dataset == "synthetic" and some.cut_hash.startswith(row.windows)
        assert (row.objective == "none") == (row.pretrained_on == "synthetic") == pretrained
        sha = checkpoint.load(cell.encoder).sha256
        assert row.checkpoint == (sha[:16] if pretrained else "-")
        weights = checkpoint.load(cell.encoder).weights_sha256()
        assert row.weights == (weights[:16] if pretrained else "-") and row.recipe == ""
        classical = row.mode in CLASSICAL
        assert row.encoder == ("-" if classical else "strided")
        how = json.loads(row.transfer)
        assert how == arguments(row.mode, {"mode": row.mode} if classical else {**TRANSFER, "mode": row.mode})
        assert "seed" not in how and (classical or how["training"]["lr"] == Training().lr)
        assert json.loads(row.pretraining) == ({"seed": 5} if pretrained else {})
        assert row.steps == (0 if classical else 3)
        assert row.n_train == (6 if row.shots == 2 else len(some.for_subjects(cell.unit.split.train)))
        assert row.n_validation == (0 if classical else len(some.for_subjects(cell.unit.split.validation)))
        assert row.code == provenance.code_version() and row.fewer == "{}" and not row.test_seen_in_pretraining


def test_an_arm_is_a_mode_with_arguments_of_its_own(some: Windows, folder: Path) -> None:
    slow = {"finetuning": {"encoder_lr": 1e-5}}
    arms = {
        "slow": {"mode": "finetune", "training": slow},
        "finetune": {"training": {"lr": 1e-2}, "head": {"dropout": 0.5}},
        "other": {"mode": "frozen", "head": {"name": "logistic"}},
        "bare": {"mode": "forest"},
    }
    planned = plan(some, folder, seeds=(0,), shots=(2,), modes=tuple(arms), overrides=arms)
    assert len({cell.fingerprint for cell in planned}) == len(planned) == 4 * FOLDS
    rows = {row.mode: row for row in protocol.evaluate(some, planned[:4], folder=folder / "arms")}
    steps = TRANSFER["training"]
    expected = {
        "slow": {"mode": "finetune", "head": HEAD, "training": {**steps, **slow}},
        "finetune": {"mode": "finetune", "head": {**HEAD, "dropout": 0.5}, "training": {**steps, "lr": 1e-2}},
        "other": {
            "mode": "frozen",
            "head": {"name": "logistic"},
            "training": steps,
        },  # another head starts from scratch
        "bare": {"mode": "forest"},
    }
    for name, given in expected.items():
        assert json.loads(rows[name].transfer) == arguments(given["mode"], given)
    assert rows["bare"].checkpoint == "-"
    assert rows["slow"].checkpoint == rows["finetune"].checkpoint != "-"
    with pytest.raises(ValueError, match=r"unknown mode 'fast'; expected some of frozen, .*, or an arm whose settings"):
        plan(some, folder, seeds=(0,), modes=("fast",), overrides={"fast": {"training": {"lr": 1.0}}})


def test_one_partition_into_folds_may_serve_all_seeds(some: Windows) -> None:
    shared = fold_seeds(some, folds=FOLDS, seeds=(3, 4), fold_seed=7)
    assert [unit.split for unit in shared[:FOLDS]] == [unit.split for unit in shared[FOLDS:]]
    assert {(unit.seed, unit.fold_seed) for unit in shared} == {(3, 7), (4, 7)}
    own = fold_seeds(some, folds=FOLDS, seeds=(3, 4))
    assert [unit.split for unit in own[:FOLDS]] != [unit.split for unit in own[FOLDS:]]
    assert {(unit.seed, unit.pretraining_seed) for unit in shared} == {(3, 7), (4, 7)}
    assert {(unit.seed, unit.pretraining_seed) for unit in own} == {(3, 3), (4, 4)}
    each = fold_seeds(some, folds=FOLDS, seeds=(3, 4), fold_seed=7, encoder_per_seed=True)
    assert [unit.split for unit in each] == [unit.split for unit in shared]
    assert {(unit.seed, unit.pretraining_seed) for unit in each} == {(3, 3), (4, 4)}


def test_nobody_need_validate(some: Windows) -> None:
    for given in ({"folds": FOLDS}, {"test": ["2", "3"]}):
        for unit in fold_seeds(some, seeds=(0,), validation=0.0, **given):
            assert not unit.split.validation
            assert {*unit.split.train, *unit.split.test} == set(some.subject_names)


def test_people_without_windows_take_no_part(some: Windows) -> None:
    part = some.for_subjects(["1", "3", "4", "6"])
    tested = [person for unit in fold_seeds(part, folds=2, seeds=(0,)) for person in unit.split.test]
    assert sorted(tested) == ["1", "3", "4", "6"]


def test_a_class_with_too_few_windows_gives_all_it_has_and_the_row_says_so(some: Windows, folder: Path) -> None:
    planned = plan(some, folder, seeds=(0,), shots=(1000,), modes=("forest", "frozen"))
    for cell, row in zip(planned, protocol.evaluate(some, planned, folder=folder / "fewer"), strict=True):
        train = some.for_subjects(cell.unit.split.train)
        counts = np.bincount(train.y, minlength=3).tolist()
        assert json.loads(row.fewer) == dict(zip(some.label_names, counts, strict=True))
        assert row.n_train == len(train) and row.shots == 1000


@pytest.mark.parametrize("limit", [5, 10_000])
def test_validation_windows_may_be_limited(limit: int, some: Windows, folder: Path) -> None:
    settings: dict[str, Any] = {"shots": (2,), "modes": ("frozen",), "validation_windows": limit}
    planned = plan(some, folder, seeds=(0,), **settings)
    assert plan(some, folder, seeds=(0,), **settings) == planned  # the draw follows from the seed
    for cell in planned:
        everyone = some.for_subjects(cell.unit.split.validation)
        held = some[cell.held(some)]
        assert len(held) == len(set(cell.held(some))) == min(limit, len(everyone))
        assert set(held.subject) <= set(everyone.subject)
    (row, *_) = protocol.evaluate(some, planned, folder=folder / "limited")
    assert row.n_validation == len(planned[0].held(some))


def test_validation_may_take_as_few_labels_as_training(some: Windows, folder: Path) -> None:
    settings: dict[str, Any] = {"shots": (1, 2), "modes": ("frozen", "forest"), "validation_windows": "shots"}
    planned = plan(some, folder, seeds=(0,), **settings)
    for cell in planned:
        held = some[cell.held(some)]
        assert set(held.subject) <= set(some.for_subjects(cell.unit.split.validation).subject)
        assert cell.shots is not None
        if cell.mode == "frozen":
            assert 0 < np.bincount(held.y, minlength=3).max() <= cell.shots
        else:
            assert not len(cell.held(some))
    assert {len(cell.held(some)) for cell in planned if cell.shots == 1 and cell.mode == "frozen"} <= {1, 2, 3}


def test_a_fingerprint_changes_with_what_the_row_depends_on_and_with_nothing_else(
    some: Windows, folder: Path, tmp_path: Path
) -> None:
    def names(mode: str, windows: Windows = some, **settings: Any) -> list[str]:
        place = settings.pop("place", folder)
        planned = plan(windows, place, seeds=(0,), shots=(2,), modes=(mode,), **settings)
        return [cell.fingerprint for cell in planned]

    for mode in MODES:
        before = names(mode)
        assert names(mode) == before
        assert not set(names(mode, some[1:])) & set(before)  # other windows of the same cut
        relabelled = dataclasses.replace(some, y=(some.y + 1) % 3)
        assert not set(names(mode, relabelled)) & set(before)
        others = names(mode, overrides={mode: {"training": {"lr": 0.5}}})
        assert (others == before) == (mode in CLASSICAL)
        assert names(mode, overrides={"another": {"training": {"lr": 0.5}}}) == before
        other_weights = names(mode, place=_other_weights(folder, tmp_path))
        assert (other_weights == before) == (mode not in ("frozen", "finetune"))


@pytest.mark.parametrize(
    ("mode", "kind", "name"),
    [
        ("frozen", LogisticHead, "C"),
        ("finetune", LogisticHead, "n_augmented_copies"),
        ("forest", ForestClassifier, "trees"),
        ("svm", SVMClassifier, "C"),
    ],
)
def test_another_default_gives_another_name(
    mode: str, kind: type, name: str, some: Windows, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are named by what was built, not by what was asked for."""

    def fingerprints() -> set[str]:
        transfer = {"head": {"name": "logistic"}}
        planned = plan(some, folder, seeds=(0,), shots=(2,), modes=(mode, "minirocket"), transfer=transfer)
        return {row.fingerprint for row in planned if row.arm == mode}

    before = fingerprints()
    assert fingerprints() == before
    spelt_out = {"head": {"name": "logistic", **LogisticHead().arguments()}, "training": Training().arguments()}
    explicit = plan(some, folder, seeds=(0,), shots=(2,), modes=(mode,), transfer=spelt_out)
    assert {row.fingerprint for row in explicit} == before, "a default that is given is no other setting"
    monkeypatch.setattr(kind, "__init__", functools.partialmethod(kind.__init__, **{name: 3}))
    assert not fingerprints() & before


def _other_weights(folder: Path, other: Path) -> Path:
    """Checkpoints of the same names and arguments as in `folder`, with other weights."""
    for path in folder.glob("*.safetensors"):
        loaded = checkpoint.load(path)
        torch.manual_seed(99)
        encoder = Strided(**loaded.encoder.arguments())
        checkpoint.save(other / path.name, encoder, loaded.signal, about=loaded.about)
    return other


def test_an_encoder_that_changed_since_it_was_planned_with_is_refused(
    some: Windows, folder: Path, tmp_path: Path
) -> None:
    plan(some, folder)  # so that there are encoders
    place = _other_weights(folder, tmp_path / "one")
    planned = plan(some, place, seeds=(0,), shots=(2,), modes=("frozen",))
    for path in place.glob("*.safetensors"):
        path.write_bytes((folder / path.name).read_bytes())
    with pytest.raises(ValueError, match="has changed since these rows were planned; run the same command again"):
        list(protocol.evaluate(some, planned, folder=tmp_path / "rows"))
    assert not list((tmp_path / "rows").iterdir())


# honesty


def spy(monkeypatch: pytest.MonkeyPatch, kind: type, seen: list[Any], what: Callable[..., Any]) -> None:
    """Calls `what(model, fitted, X, options)` after each fit of `kind`."""
    whole = kind.fit  # type: ignore[attr-defined]

    def fit(self: Any, examples: Windows, *labels: Any, **options: Any) -> Any:
        fitted = whole(self, examples, *labels, **options)
        seen.append(what(self, examples, options))
        return fitted

    monkeypatch.setattr(kind, "fit", fit)


@pytest.mark.parametrize(
    ("mode", "head"),
    [(mode, head) for mode in MODES for head in ("mlp", "few-shot") if head == "mlp" or mode not in CLASSICAL],
)
def test_only_training_people_train_and_only_validation_people_validate(
    mode: str, head: str, some: Windows, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def people(_: Any, train: Windows, options: dict[str, Any]) -> list[set[str]]:
        sides = (train, options.get("validation"), options.get("unlabelled"))
        return [set() if side is None else {side.subject_names[k] for k in side.subject} for side in sides]

    seen: list[list[set[str]]] = []
    spy(monkeypatch, KINDS.get(mode, TransferClassifier), seen, people)
    planned = plan(some, folder, modes=(mode,), shots=(None,), transfer={**TRANSFER, "head": HEADS[head]})
    rows = list(protocol.evaluate(some, planned, folder=tmp_path))
    assert len(seen) == len(planned) == FOLDS * len(SEEDS)
    learns = KINDS.get(mode) is FixedFeaturesClassifier or head == "few-shot"
    none_validate = mode in CLASSICAL or (head == "few-shot" and mode in ("frozen", "random-frozen"))
    for (trained, validated, unlabelled), cell in zip(seen, planned, strict=True):
        assert trained == set(cell.unit.split.train) and unlabelled <= trained
        assert bool(unlabelled) == learns
        assert validated == (set() if none_validate else set(cell.unit.split.validation))
        assert not (trained | validated) & set(cell.unit.split.test)
    assert all((row.n_validation == 0) == none_validate for row in rows)


def test_all_modes_learn_from_the_same_windows_and_every_seed_and_fold_from_its_own(
    some: Windows, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[frozenset[tuple[int, float]]] = []
    for kind in (TransferClassifier, *set(KINDS.values())):
        spy(monkeypatch, kind, seen, lambda _, train, __: frozenset(zip(train.recording, train.start_s, strict=True)))
    modes, shots = ("frozen", "scratch", *KINDS), (3, 2)
    shared = fold_seeds(some, folds=FOLDS, seeds=SEEDS, fold_seed=0)
    planned = planned_rows(some, shared, encoders(folder, some), modes=modes, shots=shots, transfer=TRANSFER)
    list(protocol.evaluate(some, planned, folder=tmp_path))
    drawn: dict[tuple[int, int, int | None], set[frozenset[tuple[int, float]]]] = {}
    for cell, windows in zip(planned, seen, strict=True):
        drawn.setdefault((cell.unit.seed, cell.unit.split.fold, cell.shots), set()).add(windows)
    assert {len(sets) for sets in drawn.values()} == {1}  # the modes of a cell are compared on the same windows
    assert len(set().union(*drawn.values())) == len(drawn) == len(SEEDS) * FOLDS * len(shots)
    for seed in SEEDS:
        for fold in range(FOLDS):
            (small,), (large,) = drawn[seed, fold, 2], drawn[seed, fold, 3]
            assert small < large and len(large) == 9


@every_head
@pytest.mark.parametrize("mode", ["frozen", "finetune", "scratch"])
def test_what_test_people_did_cannot_reach_a_fitted_model(
    mode: str, head: dict[str, Any], some: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by training, nor by normalisation, nor through the cache of features."""
    unit = fold_seeds(some, folds=FOLDS, seeds=(0,))[0]
    values = some.values[0].clone()
    for start in some.for_subjects(unit.split.test).offset.flatten().tolist():
        values[start : start + some.contract.steps] = 7.0
    altered = dataclasses.replace(some, values=(values,), memmaps=(), cut_hash="altered")
    fitted: list[dict[str, torch.Tensor]] = []
    bits: Callable[..., Any] = lambda model, *_: {**model.head_.state_dict(), **model.encoder_.state_dict()}  # noqa: E731
    spy(monkeypatch, TransferClassifier, fitted, bits)
    rows = []
    for windows in (some, altered):
        planned = planned_rows(
            windows,
            [unit],
            encoders(tmp_path, windows),
            shots=(None,),
            modes=(mode,),
            transfer={"head": head, "training": {"steps": 20, "batch_size": 16}},
        )
        rows += protocol.evaluate(windows, planned, folder=tmp_path / "rows")
    assert fitted[0].keys() == fitted[1].keys()
    assert all(torch.equal(fitted[0][name], fitted[1][name]) for name in fitted[0])
    assert rows[0].confusion != rows[1].confusion


def test_an_encoder_that_saw_test_people_is_refused_or_its_rows_say_so(some: Windows, tmp_path: Path) -> None:
    path = encoders(tmp_path, some, see_everybody=True)
    plan = fold_seeds(some, folds=FOLDS, seeds=(0,))[:1]
    tested = ", ".join(f"synthetic:{person}" for person in sorted(plan[0].split.test))
    with pytest.raises(ValueError, match=rf"was pretrained on test subjects \({tested}\): .*--allow-seen"):
        planned_rows(some, plan, path, **SETTINGS)
    planned = planned_rows(some, plan, path, modes=MODES, allow_seen=True, shots=(2,), transfer=TRANSFER)
    rows = {
        row.mode: row.test_seen_in_pretraining for row in protocol.evaluate(some, planned, folder=tmp_path / "rows")
    }
    assert rows == {mode: mode in ("frozen", "finetune") for mode in MODES}


@every_head
@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_a_row_equals_a_classifier_fitted_by_hand(mode: str, head: dict[str, Any], some: Windows, folder: Path) -> None:
    settings = {"head": head, "training": {"steps": 3, "batch_size": 16, "lr": 0.01}}
    planned = plan(some, folder, seeds=(1,), shots=(None,), modes=(mode,), transfer=settings)
    for cell, row in zip(planned, protocol.evaluate(some, planned, folder=folder / "by-hand"), strict=True):
        train, held, test = (
            some.for_subjects(getattr(cell.unit.split, side)) for side in ("train", "validation", "test")
        )
        model = TransferClassifier.from_arguments({**settings, "mode": mode, "seed": 1}, cell.encoder)
        model.fit(train, validation=held, unlabelled=train.unlabelled())
        assert json.loads(row.confusion) == json.loads(protocol.scores(test, model.predict(test))["confusion"])
        assert row.macro_f1 == pytest.approx(protocol.scores(test, model.predict(test))["macro_f1"])


# computed once


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be computed from here on."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("this was computed already")

    for place, name in ((protocol, "embed"), *((kind, "fit") for kind in (TransferClassifier, *KINDS.values()))):
        monkeypatch.setattr(place, name, never)


def test_evaluated_again_nothing_is_computed_or_written(
    whole: tuple[list[PlannedRow], list[Row]], some: Windows, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()}
    forbid(monkeypatch)
    assert list(protocol.evaluate(some, plan(some, folder, modes=MODES), folder=folder / "rows")) == whole[1]
    assert {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()} == files


def test_interrupted_it_goes_on_where_it_stopped(
    whole: tuple[list[PlannedRow], list[Row]], some: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, rows = whole[0][:8], whole[1][:8]
    fitted: list[str] = []
    spy(monkeypatch, TransferClassifier, fitted, lambda model, *_: model.mode)
    begun = protocol.evaluate(some, planned, folder=tmp_path)
    first = [next(begun) for _ in range(3)]
    begun.close()
    assert len(fitted) == sum(row.mode not in CLASSICAL for row in first)
    again = list(protocol.evaluate(some, planned, folder=tmp_path))
    assert again[:3] == first
    assert len(fitted) == sum(row.mode not in CLASSICAL for row in rows)
    assert [without_seconds(row) for row in again] == [without_seconds(row) for row in rows]


def test_killed_while_writing_a_row_it_leaves_none(
    some: Windows, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(some, folder, seeds=(0,), shots=(2,), modes=("scratch",))[:1]

    def torn(*_: Any, **__: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", torn)
        with pytest.raises(KeyboardInterrupt):
            list(protocol.evaluate(some, planned, folder=tmp_path))
    assert not list(tmp_path.iterdir())
    (row,) = protocol.evaluate(some, planned, folder=tmp_path)
    assert collect_rows(tmp_path)["fingerprint"].tolist() == [row.fingerprint]


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", "null", '{"dataset": "synthetic", "surprise": 1}', "\x00"])
def test_a_damaged_row_is_named(text: str, some: Windows, folder: Path, tmp_path: Path) -> None:
    planned = plan(some, folder, seeds=(0,), shots=(2,), modes=("forest",))[:1]
    (tmp_path / f"{planned[0].fingerprint}.json").write_text(text)
    message = rf"the result row '.*{planned[0].fingerprint}.json' is damaged: .*; remove it and evaluate again"
    with pytest.raises(ValueError, match=message):
        list(protocol.evaluate(some, planned, folder=tmp_path))
    with pytest.raises(ValueError, match=message):
        collect_rows(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"macro_f1": 7.5}, "does not have its hash"),
        ({"macro_f1": float("nan")}, "does not have its hash|JSON"),
        ({"fold": 77}, "does not have its hash"),
        ({"fold": "77"}, "fold: .*integer"),
        ({"shots": "two"}, "shots: .*integer"),
        ({"accuracy": "high"}, "accuracy: .*number"),
        ({"sha256": None}, "does not have its hash"),
    ],
)
def test_an_altered_row_is_refused(
    change: dict[str, Any], message: str, some: Windows, folder: Path, tmp_path: Path
) -> None:
    planned = plan(some, folder, seeds=(0,), shots=(2,), modes=("forest",))[:1]
    (row,) = protocol.evaluate(some, planned, folder=tmp_path)
    file = tmp_path / f"{row.fingerprint}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ValueError, match=rf"{row.fingerprint}.json' is damaged: .*({message})"):
        list(protocol.evaluate(some, planned, folder=tmp_path))


def test_a_row_copied_over_another_is_refused(some: Windows, folder: Path, tmp_path: Path) -> None:
    planned = plan(some, folder, seeds=(0,), shots=(2,), modes=("forest",))[:2]
    one, other = (tmp_path / f"{row.fingerprint}.json" for row in protocol.evaluate(some, planned, folder=tmp_path))
    other.write_bytes(one.read_bytes())
    with pytest.raises(ValueError, match=rf"'.*{other.name}' is damaged: it is the row {one.stem}"):
        collect_rows(tmp_path)


def test_several_processes_give_the_same_rows(
    whole: tuple[list[PlannedRow], list[Row]], some: Windows, tmp_path: Path
) -> None:
    chosen = [k for k, row in enumerate(whole[1]) if row.seed == 0 and row.shots == 2 and row.mode not in CLASSICAL]
    rows = list(protocol.evaluate(some, [whole[0][k] for k in chosen], folder=tmp_path, jobs=2))
    expected = {whole[1][k].fingerprint: without_seconds(whole[1][k]) for k in chosen}
    assert {row.fingerprint: without_seconds(row) for row in rows} == expected


def test_features_of_one_part_of_a_corpus_are_not_taken_for_another(
    some: Windows, folder: Path, tmp_path: Path
) -> None:
    fresh = {}
    for name, windows in (("whole", some), ("part", some[1:])):
        planned = plan(windows, folder, seeds=(0,), shots=(None,), modes=("frozen",))
        protocol._features.clear()
        fresh[name] = [row.confusion for row in protocol.evaluate(windows, planned, folder=tmp_path / f"fresh-{name}")]
    for name, windows in (("whole", some), ("part", some[1:])):  # now without clearing
        planned = plan(windows, folder, seeds=(0,), shots=(None,), modes=("frozen",))
        assert [row.confusion for row in protocol.evaluate(windows, planned, folder=tmp_path / "one")] == fresh[name]


def test_arms_with_and_without_statistics_take_their_own_features(some: Windows, folder: Path, tmp_path: Path) -> None:
    arms: dict[str, Any] = {
        "with": {"mode": "frozen", "head": {"name": "logistic"}},
        "without": {"mode": "frozen", "head": {"name": "logistic", "use_statistics": False}},
        "tuned": {"mode": "finetune", "head": {"name": "logistic"}},
    }
    planned = plan(some, folder, seeds=(0,), shots=(5,), modes=tuple(arms), overrides=arms)[:3]
    found = {row.mode: row.confusion for row in protocol.evaluate(some, planned, folder=tmp_path)}
    assert len(protocol._features) == 2
    unit = planned[0].unit
    rows = some.rows_for_subjects(unit.split.train)
    train, test = some[rows[draw_shots(some.y[rows], 5, seed=unit.split.fold)]], some.for_subjects(unit.split.test)
    for cell in planned:
        model = TransferClassifier.from_arguments(cell.classifier, cell.encoder)
        model.fit(train, validation=some[cell.held(some)], unlabelled=some[rows].unlabelled())
        expected = confusion_matrix(test.y, model.predict(test), labels=range(3))
        assert json.loads(found[cell.arm]) == expected.tolist()


# errors


def test_a_plan_that_cannot_be_is_refused(some: Windows, windows: Windows, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown mode 'froze'; expected some of frozen, finetune, scratch"):
        plan(some, folder, modes=("frozen", "froze"))
    with pytest.raises(ValueError, match="these windows have no labels"):
        plan(some.unlabelled(), folder)
    shorter = dataclasses.replace(some, contract=dataclasses.replace(some.contract, seconds=1.0))
    with pytest.raises(ValueError, match="does not fit these windows: windows of 1 s instead of 2 s"):
        planned_rows(shorter, fold_seeds(some, folds=FOLDS, seeds=(0,)), encoders(folder, some))


def test_an_arm_with_a_new_first_layer_is_judged_on_windows_of_another_sensor(some: Windows, tmp_path: Path) -> None:
    path = tmp_path / "motion.safetensors"
    of_others = dataclasses.replace(some.contract, rate_hz=25.0, channels=("acc_x",))
    checkpoint.save(path, Strided(1), of_others, about={"objective": "x", "pretrained_on": "elsewhere", "subjects": []})
    modes, new = ("motion", "scratch", "forest"), {"first_layer": "new"}
    arms = {"motion": {"mode": "frozen", "head": HEADS["plain"], **new}, "scratch": new}
    unit = fold_seeds(some, folds=FOLDS, seeds=(0,))[:1]
    planned = planned_rows(some, unit, lambda _: path, modes=modes, shots=(2,), transfer=TRANSFER, overrides=arms)
    rows = {row.mode: row for row in protocol.evaluate(some, planned, folder=tmp_path / "rows")}
    assert set(rows) == set(modes) and json.loads(rows["motion"].transfer)["first_layer"] == "new"
    assert (rows["motion"].pretrained_on, rows["scratch"].pretrained_on) == ("elsewhere", "-")
    with pytest.raises(ValueError, match=r'instead of 25 Hz.*give the arm frozen first_layer = "new"'):
        planned_rows(some, unit, lambda _: path, modes=("frozen",), transfer=TRANSFER)


# the table


def test_gather_gives_one_sorted_line_a_row(
    whole: tuple[list[PlannedRow], list[Row]], folder: Path, tmp_path: Path
) -> None:
    table = collect_rows(folder / "rows")
    assert list(table.columns) == [field.name for field in dataclasses.fields(Row)]
    assert len(table) == len(whole[1]) and str(table["shots"].dtype) == "Int64"
    assert table["shots"].isna().sum() == len(table) // 2
    keys = ["objective", "mode", "shots", "seed", "fold"]
    order = list(table[keys].fillna({"shots": 10**6}).itertuples(index=False, name=None))  # all windows come last
    assert order == sorted(order)
    part = whole[0][::7]
    assert set(collect_rows(folder / "rows", part)["fingerprint"]) == {cell.fingerprint for cell in part}
    with pytest.raises(FileNotFoundError, match=f"{len(part)} of {len(part)} rows are not in"):
        collect_rows(tmp_path, part)
    with pytest.raises(FileNotFoundError, match=r"no result rows in .*; run: otolith evaluate RECIPE"):
        collect_rows(tmp_path)


def lies_in_a_file(table: torch.Tensor) -> bool:
    """Whether the values of a table are a memory map of a file, by what the system says of its address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, inode, *_ = line.split()
        first, end = (int(address, 16) for address in span.split("-"))
        if first <= table.data_ptr() < end:
            return inode != "0"
    raise AssertionError("no such address")


@pytest.mark.skipif(sys.platform != "linux", reason="memory maps are listed in /proc")
def test_features_of_a_large_corpus_lie_in_files_and_give_the_same_rows(
    some: Windows, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_shot = {"name": "logistic"}
    arms: dict[str, Any] = {
        "few-shot": {"mode": "frozen", "head": few_shot},
        "forest": {"mode": "forest"},
        "mlp": {"mode": "frozen"},
        "tuned": {"mode": "finetune", "head": few_shot},
    }
    planned = plan(some, folder, seeds=(0,), shots=(None,), modes=tuple(arms), overrides=arms)[:4]
    expected = [row.confusion for row in protocol.evaluate(some, planned, folder=tmp_path / "memory")]
    tables: list[dict[str, torch.Tensor | None]] = []
    sides = ("features", "validation_features")
    spy(monkeypatch, TransferClassifier, tables, lambda _, __, options: {side: options[side] for side in sides})
    protocol._features.clear()
    monkeypatch.setattr("otolith.classifiers.features.memory_bytes", lambda: 0)
    monkeypatch.setattr(protocol, "_BLOCK", 10)
    assert [row.confusion for row in protocol.evaluate(some, planned, folder=tmp_path / "disk")] == expected
    assert len(list((tmp_path / "disk").iterdir())) == 4  # the rows alone
    found = [table for each in tables for table in each.values() if table is not None]
    assert len(found) == 5  # the few-shot head validates nothing while the encoder is frozen
    assert all(map(lies_in_a_file, [*protocol._features.values(), *found]))
    assert not lies_in_a_file(torch.zeros(1))
    protocol._features.clear()
