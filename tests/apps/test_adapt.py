"""One's own recordings and labels: windows stay inside their spans, estimates leave people out, mistakes are said."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from markupsafe import escape
from sklearn.metrics import f1_score

from otolith.apps import label
from otolith.apps.adapt import adapt, estimate, spans
from otolith.apps.adapt.estimate import CANDIDATES, Choice
from otolith.apps.adapt.own import OwnEncoder
from otolith.apps.adapt.spans import Material
from otolith.checkpoints import checkpoint
from otolith.classifiers.baselines import ForestClassifier, load_classifier
from otolith.classifiers.features import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.store import Store
from otolith.data.windows import SignalSpec, Windows
from otolith.encoders import Strided
from otolith.formats import ReadOptions, Session, read_sessions
from otolith.formats.labels import read_labels

ACC = ("acc_x", "acc_y", "acc_z")
SIGNAL = SignalSpec(50.0, ACC, 2.0)
HEADER = "recording,start,end,label,person"
FEW: dict[str, Any] = {"head": {"n_augmented_copies": 1, "self_training_rounds": 1}}  # the default, but quicker


@pytest.fixture(scope="module")
def folder(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of each of 5 people: 20 s slow, 20 s medium, 5 s of nothing, 20 s fast, at 50 Hz."""
    folder = tmp_path_factory.mktemp("recordings")
    for person in "12345":
        parts = {store.labels[e.spans[0][2]]: store.signal(e)[:, :3] for e in store.entries if e.subject == person}
        time_s = np.concatenate([np.arange(2000), 2250 + np.arange(1000)]) / 50
        table = pd.DataFrame(np.concatenate([parts[name] for name in ("slow", "medium", "fast")]), columns=list("xyz"))
        table.assign(time=time_s).to_csv(folder / f"walk{person}.csv", index=False)
    (folder / ".hidden").write_text("")
    return folder


@pytest.fixture(scope="module")
def encoder(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    windows = cut(store, channels=list(ACC))
    checkpoint.save(path, Strided(3, **windows.statistics()), SIGNAL, about={"encoder": "strided", "subjects": []})
    return path


def lines(people: str = "12345", stop: float = 8.0) -> list[str]:
    """Spans of `stop` s of each class of each person."""
    return [
        f"walk{person}.csv,{first},{first + stop},{label},{person}"
        for person in people
        for first, label in ((2, "slow"), (22, "medium"), (47, "fast"))
    ]


def save(tmp_path: Path, rows: list[str], header: str = HEADER) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def gathered(folder: Path, tmp_path: Path, rows: list[str], header: str = HEADER, **options: Any) -> Material:
    return spans.gather(folder, save(tmp_path, rows, header), SIGNAL, options=ReadOptions(**options))


def session(path: Path) -> Session:
    (read,) = read_sessions([path])
    return read


def last(encoder: Path, windows: Windows, out: Path, transfer: dict[str, Any] = FEW) -> Choice:
    *_, fitted = adapt.adapt(checkpoint.load(encoder), windows, out, transfer=transfer)
    assert fitted.done == fitted.of and fitted.choice is not None
    return fitted.choice


# what is read


def test_windows_are_the_recordings_own_values_and_stay_inside_their_spans(folder: Path, tmp_path: Path) -> None:
    material = gathered(folder, tmp_path, [*lines("12", 9.5), "walk2,47,57.5,fast,2"])  # the last reaches over another
    windows = material.windows
    assert windows.contract == SIGNAL and windows.label_names == ("slow", "medium", "fast")
    assert windows.subject_names == ("1", "2") and windows.people == ["recordings:1", "recordings:2"]
    starts = {(s, y): [] for s in range(2) for y in range(3)}
    for subject, y, start in zip(windows.subject, windows.y, windows.start_s, strict=True):
        starts[int(subject), int(y)].append(round(float(start), 6))
    assert starts[0, 0] == list(range(2, 10)) and starts[0, 1] == list(range(22, 30))  # 9.5 s: the last ends at 11 s
    assert starts[1, 2] == list(range(47, 56))
    read = session(folder / "walk2.csv")
    (row,) = np.flatnonzero((windows.subject == 1) & (windows.y == 2) & np.isclose(windows.start_s, 50))
    piece = read.recordings[1]
    first = round((50 - piece.start_s) * 50)
    np.testing.assert_array_equal(windows[row : row + 1].array().numpy()[0], piece.signal[first : first + 100].T)
    assert material.counts.to_dict("list") == {
        "label": ["slow", "medium", "fast"],
        "windows": [16, 16, 17],
        "people": [2, 2, 2],
    }


def test_unlabelled_windows_cover_the_recordings_from_end_to_end(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = gathered(folder, tmp_path, lines("12", 4.0))
    around = material.unlabelled
    assert around.y is None and around.contract == SIGNAL and around.subject_names == material.windows.subject_names
    assert (around.subject == around.recording).all()  # one person a recording
    for number in range(2):
        starts = around.start_s[around.recording == number]
        np.testing.assert_allclose(starts, [*range(39), *range(45, 64)])  # 40 to 45 s are missing
    read = session(folder / "walk2.csv")
    row = np.flatnonzero((around.recording == 1) & np.isclose(around.start_s, 30))
    np.testing.assert_array_equal(around[row].array().numpy()[0], read.recordings[0].signal[1500:1600].T)
    monkeypatch.setattr(spans, "MOST_UNLABELLED", 40)
    monkeypatch.setattr(spans, "_BLOCK", 5)
    fewer = gathered(folder, tmp_path, lines("12", 4.0)).unlabelled
    assert len(fewer) == 40 and fewer.start_s[:10].tolist() == [0, 1, 2, 3, 4, 15, 16, 17, 18, 19]  # blocks 0, 3, 6 ...


def test_an_unlabelled_window_is_of_the_person_whom_the_nearest_span_names(folder: Path, tmp_path: Path) -> None:
    rows = ["walk1,4,8,slow,ann", "walk1,20,24,fast,bob", "walk1,50,54,slow,ann"]
    around = gathered(folder, tmp_path, rows).unlabelled
    ann = around.subject == around.subject_names.index("ann")
    # windows begin at whole seconds and last two: the middle of the one at 13 s lies half-way between two spans
    assert sorted(around.start_s[~ann]) == list(range(14, 37))


def test_no_window_crosses_a_gap(folder: Path, tmp_path: Path) -> None:
    windows = gathered(folder, tmp_path, [*lines("2"), "walk1,37.5,48.25,fast,1"]).windows
    start_s = windows.start_s[windows.subject == 0]
    np.testing.assert_allclose(start_s, [37.5, 45, 46])  # 40 to 45 s are missing


def test_other_rates_and_units_become_the_checkpoints(folder: Path, tmp_path: Path) -> None:
    expected = gathered(folder, tmp_path, lines("12")).windows
    other = tmp_path / "other"
    other.mkdir()
    for person in "12":
        table = pd.read_csv(folder / f"walk{person}.csv")
        time_s = np.concatenate([np.arange(0, 40, 0.01), np.arange(45, 65, 0.01)])
        wide = {name: np.interp(time_s, table["time"], table[name]) * 9.80665 for name in "xyz"}
        pd.DataFrame({"t": time_s, **{f"acc_{name}": values for name, values in wide.items()}}).to_csv(
            other / f"walk{person}.csv", index=False
        )
    found = gathered(other, tmp_path, lines("12")).windows
    assert found.shape == expected.shape and np.array_equal(found.y, expected.y)
    assert (found.array() - expected.array()).abs().max() < 0.1


def test_dates_are_seconds_from_the_first_row(folder: Path, tmp_path: Path) -> None:
    first, dated = pd.Timestamp("2024-03-01 08:00"), tmp_path / "dated"
    dated.mkdir()
    for person in "12":
        table = pd.read_csv(folder / f"walk{person}.csv")
        table["time"] = first + pd.to_timedelta(table["time"], unit="s")
        table.to_csv(dated / f"walk{person}.csv", index=False)
    expected = gathered(folder, tmp_path, lines("12")).windows
    rows = []
    for line in lines("12"):
        name, start, end, *rest = line.split(",")
        stamps = [str(first + pd.to_timedelta(float(at), unit="s")) for at in (start, end)]
        rows.append(",".join([name, *stamps, *rest]))
    for given in (rows, lines("12")):
        found = gathered(dated, tmp_path, given).windows
        assert np.array_equal(found.start_s, expected.start_s) and torch.equal(found.array(), expected.array())
    with pytest.raises(
        ValueError, match=r"labels.csv', line 2: 2024-03-02 .* lies outside 'walk1.csv'.* from 2024-03-01"
    ):
        gathered(dated, tmp_path, [rows[0].replace("03-01", "03-02"), *rows[1:]])
    with pytest.raises(ValueError, match="have no time zone, such as 2024-03-01 08:00:00; write it alike"):
        gathered(dated, tmp_path, [rows[0].replace("08:00:02", "08:00:02+01:00"), *rows[1:]])
    with pytest.raises(ValueError, match="'soon' is neither a number of seconds nor a date"):
        gathered(dated, tmp_path, ["walk1,soon,later,slow,1", *rows[1:]])


def test_without_a_column_person_each_recording_is_a_person_and_the_notes_say_so(folder: Path, tmp_path: Path) -> None:
    rows = [line.replace(".csv", "").rpartition(",")[0] for line in lines("21")]
    material = gathered(folder, tmp_path, rows, header="Recording, start ,end,LABEL")
    assert material.windows.subject_names == ("walk1", "walk2")
    assert any("each recording counts as a person" in note for note in material.notes)
    assert any(note == f"3 more files in '{folder}' without labels: not read" for note in material.notes)
    assert any(note.startswith("walk1: acceleration in g") and note.endswith("1 more alike") for note in material.notes)
    named = gathered(folder, tmp_path, lines("12"))
    assert not any("each recording counts" in note for note in named.notes)


@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_labels_files_of_other_programs(sep: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    rows = [HEADER + ",note", *(f"{line}, seen " for line in lines("12")), "", ",,,,,"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).replace(",", sep).encode())
    assert len(read_labels(path)) == 6
    assert spans.gather(folder, path, SIGNAL).windows.label_names == ("slow", "medium", "fast")


def test_spans_that_say_the_same_count_once(folder: Path, tmp_path: Path) -> None:
    once = gathered(folder, tmp_path, lines("12")).windows
    again = gathered(folder, tmp_path, [*lines("12"), *lines("1"), "walk1,4,10,slow,1"]).windows
    assert torch.equal(once.array(), again.array())


def test_people_stand_in_the_order_one_counts_in(folder: Path, tmp_path: Path) -> None:
    rows = [line + suffix for line, suffix in zip(lines("123"), "000111222", strict=True)]
    assert gathered(folder, tmp_path, rows).windows.subject_names == ("10", "21", "32")
    assert sorted(["p10", "p9", "a", "7"], key=spans.natural_order) == ["7", "a", "p9", "p10"]


# the estimate


def test_each_window_is_judged_once_by_models_that_never_saw_its_person(
    folder: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = gathered(folder, tmp_path, lines())
    windows = material.windows
    fitted: list[set[int]] = []
    known: list[set[int]] = []
    judged: list[list[tuple[int, float]]] = []
    for kind in (TransferClassifier, ForestClassifier):

        def fit(self: Any, train: Windows, whole: Any = kind.fit, **others: Any) -> Any:
            fitted.append(set(train.subject.tolist()))
            if isinstance(self, TransferClassifier):
                known.append(set(others["unlabelled"].recording.tolist()))
                for name, windows in (("features", train), ("unlabelled_features", others["unlabelled"])):
                    expected = embed(checkpoint.load(encoder).encoder, windows, statistics=True)
                    torch.testing.assert_close(others[name], expected)
                assert known[-1] == set(train.recording.tolist())
            return whole(self, train, **others)

        def predicts(self: Any, test: Windows, whole: Any = kind.predict_proba, **others: Any) -> np.ndarray:
            assert not fitted[-1] & set(test.subject.tolist())
            judged.append(list(zip(test.recording.tolist(), test.start_s.tolist(), strict=True)))
            found = whole(self, test, **others)
            np.testing.assert_allclose(whole(self, test), found, atol=1e-6)
            return found

        monkeypatch.setattr(kind, "fit", fit)
        monkeypatch.setattr(kind, "predict_proba", predicts)
    around = material.unlabelled
    every = list(adapt.adapt(checkpoint.load(encoder), windows, tmp_path / "out", unlabelled=around, transfer=FEW))
    assert [(one.done, one.of) for one in every] == [(k, 11) for k in range(1, 12)]
    expected = sorted(zip(windows.recording.tolist(), windows.start_s.tolist(), strict=True))
    for candidate in range(2):
        assert sorted(itertools.chain(*judged[candidate::2])) == expected
    assert fitted[-1] == set(range(5)), "the model for use is fitted on everybody"
    assert [one.choice is None for one in every] == [True] * 10 + [False]


def test_a_person_is_left_out_with_recordings_where_no_window_fits_into_the_persons_spans(
    folder: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "recordings"
    other.mkdir()
    for person in "12":
        (other / f"walk{person}.csv").write_bytes((folder / f"walk{person}.csv").read_bytes())
    (other / "short.csv").write_bytes((folder / "walk3.csv").read_bytes())
    (other / "both.csv").write_bytes((folder / "walk4.csv").read_bytes())
    short = ["short,3,4.5,slow,1", "both,3,4.5,slow,1", "both,24,30,medium,2"]  # 1.5 s: no window of 2 s
    material = gathered(other, tmp_path, [*lines("12"), *short])
    assert [sorted(people) for people in material.people] == [["1", "2"], ["1"], ["1"], ["2"]]
    seen: list[tuple[set[int], set[int]]] = []

    def fit(self: Any, train: Windows, whole: Any = TransferClassifier.fit, **others: Any) -> Any:
        around = others["unlabelled"]
        seen.append((set(train.subject.tolist()), set(around.recording.tolist())))
        return whole(self, train, **others)

    monkeypatch.setattr(TransferClassifier, "fit", fit)
    loaded = checkpoint.load(encoder)
    others: dict[str, Any] = {"unlabelled": material.unlabelled, "people": material.people, "transfer": FEW}
    list(adapt.adapt(loaded, material.windows, tmp_path / "out", **others))
    by_person = {next(iter(people)): recordings for people, recordings in seen[:2]}
    assert by_person == {0: {1, 2}, 1: {3}}


def test_label_assumes_the_units_that_the_models_recordings_had(folder: Path, encoder: Path, tmp_path: Path) -> None:
    other = tmp_path / "recordings"
    other.mkdir()
    for person in "12":
        table = pd.read_csv(folder / f"walk{person}.csv")
        table[list("xyz")] *= 9.80665
        table.to_csv(other / f"walk{person}.csv", index=False)
    _, fits = adapt.adapt_recordings(encoder, other, save(tmp_path, lines("12")), tmp_path / "out")
    list(fits)
    model = load_classifier(tmp_path / "out" / "model.safetensors")
    assert model.about_["recorded_in"]["acc"] == "m/s2"
    (found,) = label.survey_for(model, [other / "walk1.csv"]).sessions()
    assert any("m/s2" in fact.text and "model" in fact.text for fact in found.facts), found.facts


def predictions(windows: Windows, wrong: dict[str, float]) -> dict[str, np.ndarray]:
    """Labels of which that share is wrong."""
    random = np.random.default_rng(0)
    return {
        name: np.where(random.random(len(windows)) < share, (windows.y + 1) % 3, windows.y)
        for name, share in wrong.items()
    }


@pytest.mark.parametrize(
    ("wrong", "chosen", "why"),
    [
        ({"encoder": 0.1, "forest": 0.5}, "encoder", "points of macro F1 [+"),
        ({"encoder": 0.5, "forest": 0.1}, "forest", "points of macro F1 [-"),
        (
            {"encoder": 0.0, "forest": 0.0},
            "encoder",
            "+0.0 points of macro F1 [+0.0, +0.0], no certain difference, a tie",
        ),
    ],
)
def test_the_better_is_taken_and_the_encoder_where_they_tie(
    folder: Path, tmp_path: Path, wrong: dict[str, float], chosen: str, why: str
) -> None:
    windows = gathered(folder, tmp_path, lines()).windows
    guesses = predictions(windows, wrong)
    choice = estimate.choose(windows, estimate.leave_people_out(windows, 0), guesses)
    assert choice.chosen == chosen and why in choice.why[0]
    assert choice.why[0].endswith(f"the {CANDIDATES[chosen]} is taken.")
    assert "slightly optimistic" in choice.why[-1]
    for name, found in choice.estimates.items():
        slow = [f1_score(windows.y == k, guesses[name] == k) for k in range(3)]
        np.testing.assert_allclose(found.f1, slow)
        assert found.macro_f1 == pytest.approx(np.mean(slow)) and found.low <= found.macro_f1 <= found.high
        assert found.confusion.sum() == len(windows)
    assert (choice.estimates[chosen].high - choice.estimates[chosen].low > 0) == (wrong[chosen] > 0)


def test_a_fold_is_scored_on_the_classes_its_people_did(folder: Path, tmp_path: Path) -> None:
    windows = gathered(folder, tmp_path, [line for line in lines() if "walk5" not in line or "slow" in line]).windows
    choice = estimate.choose(
        windows, estimate.leave_people_out(windows, 0), predictions(windows, {"encoder": 0.0, "forest": 1.0})
    )
    (alone,) = choice.table[(choice.table["people"] == "5") & (choice.table["candidate"] == "encoder")].to_dict(
        "records"
    )
    assert alone["macro_f1"] == alone["f1 slow"] == 1 and np.isnan(alone["f1 fast"])
    assert choice.estimates["forest"].macro_f1 == 0


def test_too_few_people_have_no_interval(folder: Path, encoder: Path, tmp_path: Path) -> None:
    choice = last(encoder, gathered(folder, tmp_path, lines("1234")).windows, tmp_path / "out")
    assert any(text.startswith("4 people are too few for an interval (5 are needed)") for text in choice.why)
    assert all(np.isnan(found.low) and np.isnan(found.high) for found in choice.estimates.values())
    assert "[" not in choice.why[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lines("3"), "All windows are of one person (3): leaving people out is impossible"),
        ([lines("1")[0], *lines("2")[1:]], "leaving people out is impossible"),
        ([lines("1")[0], lines("2")[1]], "Without 2 there is one label, 'slow': leaving people out is impossible"),
    ],
)
def test_where_nobody_can_be_left_out_the_encoder_is_taken_without_an_estimate(
    folder: Path, encoder: Path, tmp_path: Path, rows: list[str], message: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for stale in adapt.FILES:
        (out / stale).write_text("of an older run")
    choice = last(encoder, gathered(folder, tmp_path, rows).windows, out)
    assert choice.chosen == "encoder" and choice.estimates == {}
    assert "cannot say 'unknown': 0 windows of people left out are too few" in choice.why[-1]
    assert message in choice.why[0] or "Without 2 there is one label" in choice.why[0]
    assert [path.name for path in out.iterdir()] == ["model.safetensors"]
    assert isinstance(load_classifier(out / "model.safetensors"), TransferClassifier)


def test_a_class_of_one_person_alone_is_warned_of(folder: Path, tmp_path: Path) -> None:
    assert gathered(folder, tmp_path, lines()).warnings == ()
    (warning,) = gathered(folder, tmp_path, [*lines(), "walk3,12,18,standing,3"]).warnings
    assert warning.startswith("'standing' is known of 3 alone, who is left out together: its F1 in the estimate is 0")


def test_people_whom_the_encoder_was_pretrained_on_are_warned_of() -> None:
    def warning(*subjects: str) -> str:
        return estimate.warning_about_encoder({"subjects": list(subjects)}, ["anna", "2"])

    assert estimate.warning_about_encoder({}, ["anna"]) == ""
    assert "on people of spar, wisdm: if these recordings are of some of them" in warning("spar:2", "wisdm:1600")
    assert "people of the same names (2, anna)" in warning("own:anna", "own:2", "own:ben", "spar:7")
    assert "on people of own:" in warning("own:ben")


# what is written


def test_files_say_what_was_found_and_the_model_labels(folder: Path, encoder: Path, tmp_path: Path) -> None:
    material, fits = adapt.adapt_recordings(encoder, folder, save(tmp_path, lines()), tmp_path / "out", seed=3)
    *_, fitted = fits
    choice = fitted.choice
    assert choice is not None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*sorted(adapt.FILES), "model.safetensors"]
    table = pd.read_csv(tmp_path / "out" / "estimate.csv")
    assert table["fold"].tolist() == [str(k) for k in range(5) for _ in range(2)] + ["all", "all"]
    folds = table[table["fold"] != "all"]
    assert sorted(folds["people"].astype(float).astype(int)) == sorted([*range(1, 6)] * 2)
    assert (folds["n_train"] + folds["n_test"] == len(material.windows)).all()
    together = table[table["fold"] == "all"].set_index("candidate")
    for name, found in choice.estimates.items():
        assert together.loc[name, "macro_f1"] == pytest.approx(found.macro_f1, abs=1e-4)
        assert together.loc[name, "f1 fast"] == pytest.approx(found.f1[2], abs=1e-4)
    assert (tmp_path / "out" / "estimate.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page = (tmp_path / "out" / "estimate.html").read_text()
    assert f"macro F1 {choice.estimates[choice.chosen]} on people left out</h1>" in page
    assert all(str(escape(sentence)) in page for sentence in choice.why)
    model = load_classifier(tmp_path / "out" / "model.safetensors")
    assert isinstance(model, ForestClassifier) == (choice.chosen == "forest")
    assert model.about_["labelled_subjects"] == [f"recordings:{k}" for k in range(1, 6)]
    assert model.about_["adapted_from"] == checkpoint.load(encoder).sha256 and set(model.about_["estimate"]) == set(
        CANDIDATES
    )
    assert model.rejection_ is not None and model.bouts_ is not None
    assert "'unknown'" in choice.why[-1] and f"{100 * float(model.rejection_.beyond_share):.0f} %" in choice.why[-1]
    labelled = next(label.label_recordings(model, [folder / "walk4.csv"], tmp_path))
    assert labelled.summary.set_index("label")["seconds"].reindex(["slow", "fast"]).min() > 5


def test_the_same_seed_gives_the_same_bytes(folder: Path, encoder: Path, tmp_path: Path) -> None:
    windows = gathered(folder, tmp_path, lines("12", 4.0)).windows
    for out, jobs in (("one", 1), ("two", 1), ("several", 2)):
        list(adapt.adapt(checkpoint.load(encoder), windows, tmp_path / out, transfer=FEW, jobs=jobs))
    for name in (*adapt.FILES, "model.safetensors"):
        first, *others = ((tmp_path / out / name).read_bytes() for out in ("one", "two", "several"))
        assert [first, first] == others


def test_an_interrupted_estimate_continues_with_the_same_bits(
    folder: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = gathered(folder, tmp_path, lines()).windows
    last(encoder, windows, tmp_path / "whole")
    out = tmp_path / "broken"
    calls = adapt.adapt(checkpoint.load(encoder), windows, out, transfer=FEW)
    for _ in range(4):
        next(calls)
    calls.close()
    kept = sorted((out / ".unfinished").iterdir())
    assert len(kept) == 4 and not (out / "model.safetensors").exists()
    kept[0].write_bytes(b"damaged")
    asked: list[str] = []
    fold = adapt._left_out

    def counted(*arguments: Any) -> Any:
        asked.append(arguments[2])
        return fold(*arguments)

    monkeypatch.setattr(adapt, "_left_out", counted)
    last(encoder, windows, out)
    assert len(asked) == 2 * 5 - 3  # five people and two candidates; one of the four parts was damaged
    assert not (out / ".unfinished").exists()
    for name in ("model.safetensors", *adapt.FILES):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_recipes_transfer_takes_the_place_of_the_default(
    folder: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.toml"
    named = 'dataset = "synthetic"\nencoder = { name = "strided" }\nobjective = { name = "simclr" }\n'
    settings = (
        "[transfer]\nhead = { name = 'mlp' }\ntraining = { lr = 0.01 }\n[transfer.finetune.training]\nsteps = 5\n"
    )
    recipe.write_text(named + settings)
    seen: list[Any] = []
    monkeypatch.setattr(adapt, "adapt", lambda *_, transfer, **__: iter([seen.append(transfer)]))
    arms = tmp_path / "arms.toml"
    arms.write_text(
        named + '[protocol]\nmodes = ["forest", "ours", "frozen"]\n[transfer]\nhead = { name = "logistic", C = 1.0 }\n'
        '[transfer.ours]\nmode = "frozen"\nhead = { whiten = 0.2 }\n'
    )
    labels = save(tmp_path, lines("12"))
    for given in (None, recipe, arms):
        adapt.adapt_recordings(encoder, folder, labels, tmp_path, recipe=given)
    assert seen[0] == {}
    assert seen[1] == {"mode": "finetune", "head": {"name": "mlp"}, "training": {"lr": 0.01, "steps": 5}}
    assert seen[2] == {"mode": "frozen", "head": {"name": "logistic", "C": 1.0, "whiten": 0.2}}
    for arguments in seen:
        TransferClassifier.from_arguments(arguments)


def test_an_own_encoder_never_sees_the_people_who_are_left_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[OwnEncoder] = []

    def kept(windows: Windows, **settings: int) -> OwnEncoder:
        made.append(OwnEncoder(windows, **settings))
        return made[-1]

    monkeypatch.setattr(adapt, "OwnEncoder", kept)
    _, fits = adapt.adapt_recordings("own", folder, save(tmp_path, lines("123")), tmp_path / "out", steps=4)
    *progress, fitted = fits
    assert fitted.done == fitted.of == 4 + 2 * 3 + 1 and fitted.choice is not None
    everybody = {f"recordings:{person}" for person in "123"}
    *without, seen = (set(own.windows.people) for own in made)
    assert seen == everybody
    assert set(map(frozenset, without)) == {frozenset(everybody - {person}) for person in everybody}
    steps = [step.what for step in progress if "pretraining" in step.what]
    assert steps[-1].startswith("everybody: pretraining, step ") and len(steps) >= len(made)
    model = load_classifier(tmp_path / "out" / "model.safetensors")
    assert model.about_["adapted_from"] == made[-1].checkpoint().sha256 and model.signal_ == SIGNAL


def test_an_own_encoder_without_a_person_of_every_recording_sees_the_labelled_windows_of_the_others(
    folder: Path, tmp_path: Path
) -> None:
    theirs = [f"walk1,{first},{first + 8},{name},2" for first, name in ((11, "slow"), (31, "medium"), (56, "fast"))]
    material = gathered(folder, tmp_path, [*lines("1"), *theirs])
    found = {"unlabelled": material.unlabelled, "people": material.people}
    *_, fitted = adapt.adapt(None, material.windows, tmp_path / "out", transfer=FEW, steps=1, **found)
    assert fitted.choice is not None and set(fitted.choice.estimates) == set(CANDIDATES)


def test_the_shipped_encoder_is_adapted_by_its_name(folder: Path, tmp_path: Path) -> None:
    material, fits = adapt.adapt_recordings("shipped", folder, save(tmp_path, lines("12")), tmp_path / "out")
    assert "pretrained on people of dsads, motionsense" in material.warnings[-1]
    *_, fitted = fits
    assert fitted.choice is not None
    model = load_classifier(tmp_path / "out" / "model.safetensors")
    assert model.about_["adapted_from"] == checkpoint.load().sha256


def test_the_model_for_use_is_the_default_classifier_on_all_windows(
    folder: Path, encoder: Path, tmp_path: Path
) -> None:
    windows = gathered(folder, tmp_path, lines("1")).windows  # of one person, so that the encoder is taken
    list(adapt.adapt(checkpoint.load(encoder), windows, tmp_path / "out"))
    model = TransferClassifier.load(tmp_path / "out" / "model.safetensors")
    assert model.arguments() == TransferClassifier().arguments()
    assert model.effective_head_.arguments() == model.head.arguments()
    by_hand = TransferClassifier(encoder).fit(windows)
    np.testing.assert_allclose(model.predict_proba(windows), by_hand.predict_proba(windows), atol=1e-6)


# mistakes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["wlak1,2,9,slow,1", *lines("2")], r"line 2: no recording 'wlak1' in '.*'; did you mean 'walk1'\?"),
        (["qqqq,2,9,slow,1", *lines("2")], r"no recording 'qqqq' in '.*'; there are: walk1.csv, walk2.csv"),
        (["walk1,2,90,slow,1", *lines("2")], r"line 2: 2 to 90 lies outside 'walk1', which lasts 65 s"),
        (["walk1,-2,9,slow,1", *lines("2")], "line 2: -2 to 9 lies outside 'walk1'"),
        (["walk1,9,2,slow,1", *lines("2")], "line 2: 9 to 2: start must be before end"),
        (["walk1,nan,2,slow,1", *lines("2")], "line 2: nan to 2: start must be before end"),
        (["walk1,08:00,9,slow,1", *lines("2")], "line 2: '08:00' is no number, and 'walk1' has no dates; give seconds"),
        (["walk1,2,9,slow,", *lines("2")], "line 2: person is empty"),
        (["walk1,2,,slow,1", *lines("2")], "line 2: end is empty"),
        (
            [*lines("2"), "walk2,5,12,fast,2"],
            r"line 2 \(2, slow\) and line 5 \(2, fast\) overlap in 'walk2' from 5 to 10 s",
        ),
        ([*lines("2"), "walk2,5,12,slow,3"], r"line 2 \(2, slow\) and line 5 \(3, slow\) overlap"),
        (
            [*lines("2"), "walk1,3,4.9,standing,1"],
            "no window of 2 s fits into a span of 'standing' .the longest lasts 1.9 s",
        ),
        (["walk1,2,9,slow,1", "walk2,2,9,slow,2"], "knows one label, 'slow'; a classifier needs at least 2"),
        ([], "names no span"),
    ],
)
def test_mistakes_in_the_labels_file_are_said(folder: Path, tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gathered(folder, tmp_path, rows)


def test_wrong_columns_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no column recording, label; it has: file, start, end, activity; expected rec"
    ):
        gathered(folder, tmp_path, ["walk1,2,9,slow"], header="file,start,end,activity")


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe" * 40, b'recording,start\n"a,1\n', b"recording,start\na,b,c,d\n"]
)
def test_a_labels_file_that_is_no_table(content: bytes, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"'labels.csv'"):
        spans.gather(folder, path, SIGNAL)


def test_missing_files_and_ambiguous_ones(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no labels file at"):
        spans.gather(folder, tmp_path / "absent.csv", SIGNAL)
    labels = save(tmp_path, lines("12"))
    with pytest.raises(FileNotFoundError, match="no folder of recordings at"):
        spans.gather(tmp_path / "absent", labels, SIGNAL)
    twice = tmp_path / "twice" / "phone"
    twice.mkdir(parents=True)
    for name in ("walk1.csv", "walk1.csv.gz"):
        pd.read_csv(folder / "walk1.csv").to_csv(twice / name, index=False)
    rows = [line.replace("walk1.csv", "phone/walk1") for line in lines("1")]
    with pytest.raises(ValueError, match=r"may be phone/walk1.csv or phone/walk1.csv.gz; write it with its suffix"):
        gathered(twice.parent, tmp_path, rows)
    assert len(gathered(twice.parent, tmp_path, [row.replace("walk1", "walk1.csv.gz") for row in rows]).windows) == 21


def test_recordings_that_do_not_suit_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    labels = save(tmp_path, lines("12"))
    six = SignalSpec(50.0, (*ACC, "gyro_x", "gyro_y", "gyro_z"), 2.0)
    with pytest.raises(ValueError, match=r"'walk1': the model needs .*; the recording has no gyro_x, gyro_y, gyro_z"):
        spans.gather(folder, labels, six)
    with pytest.raises(ValueError, match=r"'walk1': the recording has 50 Hz and the model was trained at 400 Hz"):
        spans.gather(folder, labels, SignalSpec(400.0, ACC, 2.0))


def test_without_the_forest_the_encoder_is_taken_and_the_model_names_people_only_if_asked(
    folder: Path, encoder: Path, tmp_path: Path
) -> None:
    people = {"1": "anna", "2": "ben"}
    rows = [f"{line[:-1]}{people[line[-1]]}" for line in lines("12", 4.0)]
    windows = gathered(folder, tmp_path, rows).windows
    poor = {"head": {"C": 1e-9, "whiten": None, "use_statistics": False, "n_augmented_copies": 0}}
    kinds = {}
    for out, settings in (("either", {}), ("encoder", {"forest": False}), ("named", {"keep_people": True})):
        *_, last = adapt.adapt(checkpoint.load(encoder), windows, tmp_path / out, transfer=poor, **settings)
        assert last.choice is not None and set(last.choice.estimates) == set(CANDIDATES)
        model = load_classifier(tmp_path / out / "model.safetensors")
        kinds[out] = isinstance(model, ForestClassifier), last.choice.chosen
        named = b"anna" in (tmp_path / out / "model.safetensors").read_bytes()
        assert named == (out == "named")
        assert model.about_["labelled_subjects"] == [
            f"recordings:{who}" for who in (people.values() if named else "12")
        ]
        if out == "encoder":
            assert "the forest was left out of the choice" in last.choice.why[0]
    assert kinds == {"either": (True, "forest"), "encoder": (False, "encoder"), "named": (True, "forest")}
