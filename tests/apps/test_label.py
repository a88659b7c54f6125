"""A user's own recording: columns, units, rates and gaps are understood, shown, or refused in words."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otolith.apps.label import ENDINGS, Labeller, label, timeline_figure, write
from otolith.apps.label.minutes import minutes
from otolith.apps.label.stream import joined
from otolith.classifiers.heads import LogisticHead
from otolith.classifiers.heads.logistic import PLAIN
from otolith.classifiers.settings import Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.splits import draw_shots
from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.formats import ReadOptions, Session, read_sessions, stem
from otolith.formats.options import DEFAULTS

ACC = ["acc_x", "acc_y", "acc_z"]


@pytest.fixture(scope="module")
def model(store: Store, tmp_path_factory) -> TransferClassifier:
    """A classifier of slow, medium and fast, from the accelerometer at 50 Hz, as loaded from disk."""
    windows: Windows = cut(store, channels=ACC)
    train = windows[draw_shots(windows.y, 40, seed=0)]
    fitted = TransferClassifier(
        Strided(3, **windows.statistics()), LogisticHead(**PLAIN), mode="scratch", training=Training(steps=60)
    )
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    fitted.fit(train).save(path, label_names=windows.label_names)
    return TransferClassifier.load(path)


@pytest.fixture
def session(store: Store) -> tuple[np.ndarray, list[str]]:
    """(time, 3) in g at 50 Hz: slow, then fast movements of one person, and the two labels."""
    chosen = [entry for entry in store.entries if entry.subject == "2"]
    by_label = {store.labels[entry.spans[0][2]]: store.signal(entry)[:, :3] for entry in chosen}
    return np.concatenate([by_label["slow"], by_label["fast"]]), ["slow", "fast"]


def save(tmp_path, columns: dict, name: str = "mine.csv", **options):
    path = tmp_path / name
    pd.DataFrame(columns).to_csv(path, index=False, **options)
    return path


def table(signal: np.ndarray, rate_hz: float = 50.0, **names) -> dict:
    return {"time": np.arange(len(signal)) / rate_hz, "x": signal[:, 0], "y": signal[:, 1], "z": signal[:, 2], **names}


def read(path: Path, options: ReadOptions = DEFAULTS) -> Session:
    (found,) = read_sessions([path], options)
    return found


def test_a_recording_becomes_a_timeline_that_covers_it_once(tmp_path, model, session) -> None:
    signal, truth = session
    labelled = label(model, read(save(tmp_path, table(signal))))
    line = labelled.timeline
    assert line["start_s"].iloc[0] == 0
    assert line["end_s"].iloc[-1] == pytest.approx(len(signal) / 50)
    np.testing.assert_allclose(line["start_s"].to_numpy()[1:], line["end_s"].to_numpy()[:-1])
    assert (line["label"].to_numpy()[1:] != line["label"].to_numpy()[:-1]).all(), (
        "neighbours with one label are one line"
    )
    assert line["probability"].between(0, 1).all()
    half = len(signal) / 100
    for name, start, end in ((truth[0], 0, half), (truth[1], half, 2 * half)):
        mine = line[line["label"] == name]
        overlap = (np.minimum(mine["end_s"], end) - np.maximum(mine["start_s"], start)).clip(lower=0).sum()
        assert overlap > 0.8 * half, f"{name} is found where it is"
    assert labelled.summary["seconds"].sum() == pytest.approx(len(signal) / 50)
    assert labelled.summary["share"].sum() == pytest.approx(1)


def test_votes_equal_a_slow_count(model, session) -> None:
    signal = session[0][:333]
    labeller = Labeller(model, smooth=False)
    cells = joined([labeller.push(signal), labeller.close()])
    total, windows = np.zeros((7, 3)), np.zeros((7, 1))
    for start in [
        0,
        50,
        100,
        150,
        200,
        233,
    ]:  # the last ends with the recording, and counts from its first whole cell on
        probability = model.predict_proba(signal[start : start + 100].T[None].copy())[0]
        for cell in range(-(-start // 50), 7):
            if cell * 50 < start + 100:
                total[cell] += probability
                windows[cell] += 1
    expected = total / windows
    np.testing.assert_array_equal(cells.number, expected.argmax(axis=1))
    np.testing.assert_allclose(cells.probability, expected.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(cells.start_s, np.arange(7))
    np.testing.assert_allclose(cells.end_s, [*range(1, 7), 6.66])


@pytest.mark.parametrize(("unit", "factor"), [("g", 1.0), ("m/s2", 9.80665), ("mg", 1000.0)])
def test_units_are_guessed_shown_and_do_not_change_the_labels(tmp_path, model, session, unit, factor) -> None:
    signal, _ = session
    found = read(save(tmp_path, table(signal * factor)))
    assert any(
        note.startswith(f"acceleration in {unit} ") and "guessed" in note
        for note in [str(fact) for fact in found.facts]
    )
    np.testing.assert_allclose(found.recordings[0].signal, signal, atol=1e-4)


@pytest.mark.parametrize(
    ("names", "kwargs"),
    [
        (["time", "x", "y", "z"], {}),
        (["Timestamp", "accX", "accY", "accZ"], {"sep": ";"}),
        (["t", "Accel_X (g)", "Accel_Y (g)", "Accel_Z (g)"], {"sep": "\t"}),
        (["seconds_elapsed", "a.x", "a.y", "a.z"], {}),
    ],
)
def test_column_names_and_separators_are_understood(tmp_path, session, names, kwargs) -> None:
    signal, _ = session
    columns = dict(zip(names, table(signal).values(), strict=True))
    found = read(save(tmp_path, columns, **kwargs))
    assert found.rate_hz == 50
    np.testing.assert_allclose(found.recordings[0].signal, signal, atol=1e-4)


def test_a_table_without_a_header_and_a_gyroscope(tmp_path, session) -> None:
    signal, _ = session
    turn = 90.0 + 40.0 * np.random.default_rng(0).standard_normal((len(signal), 3))
    data = np.column_stack([np.arange(len(signal)) * 20, signal, turn])  # milliseconds, degrees per second
    path = tmp_path / "bare.csv"
    np.savetxt(path, data, delimiter=",")
    found = read(path)
    assert found.channels == (*ACC, "gyro_x", "gyro_y", "gyro_z")
    assert found.rate_hz == 50
    np.testing.assert_allclose(found.recordings[0].signal[:, 3:], np.deg2rad(turn), rtol=1e-5)


def test_a_table_without_a_header_but_with_words_in_it(tmp_path, session) -> None:
    signal, _ = session
    frame = pd.DataFrame({"code": ["A"] * len(signal), **table(signal)})
    path = tmp_path / "bare.csv.gz"
    frame.to_csv(path, index=False, header=False)
    np.testing.assert_allclose(read(path).recordings[0].signal, signal, atol=1e-4)
    found = read(path, ReadOptions(time="1", acc=("2", "3", "4")))
    np.testing.assert_allclose(found.recordings[0].signal, signal, atol=1e-4)
    assert stem(path.name) == "bare"


@pytest.mark.parametrize(("unit", "per_s"), [("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
def test_clocks_of_any_unit(tmp_path, session, unit, per_s) -> None:
    signal, _ = session
    columns = table(signal)
    columns["time"] = np.round(columns["time"] * per_s, 3) + 17 * per_s
    found = read(save(tmp_path, columns))
    assert found.rate_hz == pytest.approx(50)
    assert any(f"time in {unit}" in note for note in map(str, found.facts))


def test_dates_come_back_as_dates(tmp_path, model, session) -> None:
    signal, _ = session
    columns = table(signal)
    columns["time"] = pd.Timestamp("2024-03-01 08:00") + pd.to_timedelta(columns["time"], unit="s")
    line = label(model, read(save(tmp_path, columns))).timeline
    assert line["start"].iloc[0] == pd.Timestamp("2024-03-01 08:00")
    assert line["end"].iloc[-1] == pd.Timestamp("2024-03-01 08:00:40")


@pytest.mark.parametrize("rate_hz", [100.0, 64.0, 31.25])
def test_other_rates_are_resampled(tmp_path, model, session, rate_hz) -> None:
    signal, truth = session
    clock = np.arange(0, len(signal) / 50, 1 / rate_hz)
    at = np.stack([np.interp(clock, np.arange(len(signal)) / 50, column) for column in signal.T], axis=1)
    labelled = label(model, read(save(tmp_path, table(at, rate_hz))))
    assert labelled.session.rate_hz == pytest.approx(rate_hz, rel=0.02)
    shares = labelled.summary.set_index("label")["share"]
    assert shares[truth].min() > 0.35


def test_gaps_split_and_short_pieces_say_why(tmp_path, model, session) -> None:
    signal, _ = session
    columns = pd.DataFrame(table(signal))
    kept = columns[~columns["time"].between(10, 15) & ~columns["time"].between(16, 20)]
    labelled = label(model, read(save(tmp_path, kept)))
    line = labelled.timeline
    alone = line[line["label"] == ""]
    assert alone["reason"].tolist() == ["no rows", "shorter than a window of 2 s", "no rows"]
    np.testing.assert_allclose(alone["start_s"], [10, 15, 16], atol=0.05)
    assert not any(line["label"].ne("") & line["start_s"].lt(12) & line["end_s"].gt(12)), (
        "nothing is labelled inside a gap"
    )
    assert any("2 gaps longer than 0.5 s" in note for note in [str(fact) for fact in labelled.session.facts])


def test_missing_values_count_as_missing_rows(tmp_path, model, session) -> None:
    signal, _ = session
    columns = pd.DataFrame(table(signal)).astype(object)
    columns.loc[100:104, "x"] = np.nan
    columns.loc[300, "y"] = "?"
    found = read(save(tmp_path, columns))
    assert any("6 of 2,000 rows" in note for note in map(str, found.facts))
    assert len(found.recordings) == 1
    assert np.isfinite(found.recordings[0].signal).all()


def test_results_are_written_whole(tmp_path, model, session) -> None:
    signal, truth = session
    labelled = label(model, read(save(tmp_path, table(signal))))
    written = write(labelled, tmp_path / "out", "mine", truth=[(0.0, 20.0, truth[0]), (20.0, 40.0, truth[1])])
    paths = list(written.files.values())
    assert [path.name for path in paths] == [f"mine.{ending}" for ending in ENDINGS.values()]
    back = pd.read_csv(paths[0])
    assert list(back.columns)[:4] == ["start_s", "end_s", "label", "probability"]
    assert written.files["picture"].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)


def test_the_plot_of_a_long_recording_stays_small(tmp_path, session) -> None:
    from otolith.apps.label import Labelled

    tiled = np.tile(session[0], (60, 1))  # 40 minutes
    found = read(save(tmp_path, table(tiled)))
    line = pd.DataFrame({"start_s": [0.0], "end_s": [2400.0], "label": ["slow"], "probability": [0.9], "reason": [""]})
    figure = timeline_figure(Labelled(line, line, found, ("slow", "fast")))
    corners = [len(path.vertices) for c in figure.axes[0].collections for path in c.get_paths()]
    assert max(corners) < 10_000
    assert figure.axes[-1].get_xlabel() == "time, min"


def test_dates_are_on_the_axis_and_no_legend_covers_the_signal(tmp_path, model, session) -> None:
    columns = table(session[0])
    columns["time"] = pd.Timestamp("2024-03-01 08:00") + pd.to_timedelta(columns["time"], unit="s")
    figure = timeline_figure(label(model, read(save(tmp_path, columns))))
    figure.draw_without_rendering()
    signal, band = figure.axes
    assert any(text.get_text().startswith("08:00") for text in band.get_xticklabels())
    assert signal.get_legend() is None and len(figure.legends) == 2
    for legend in figure.legends:
        assert not legend.get_window_extent().overlaps(signal.get_window_extent())


def test_time_is_counted_per_day_and_hour(tmp_path, model, session) -> None:
    columns = pd.DataFrame(table(np.tile(session[0], (5, 1))))  # 200 s
    columns["time"] = pd.Timestamp("2024-03-01 23:58:20") + pd.to_timedelta(columns["time"], unit="s")
    labelled = label(model, read(save(tmp_path, columns[(columns.index < 1000) | (columns.index >= 2000)])))
    days, hours = labelled.days, labelled.hours
    assert [str(day) for day in days["day"]] == ["2024-03-01", "2024-03-02"]
    assert hours["hour"].tolist() == [23, 0] and hours.columns[-2:].tolist() == ["not worn", "missing"]
    minutes = days.drop(columns="day").to_numpy().sum(axis=1)
    np.testing.assert_allclose(minutes, [100 / 60, 100 / 60])
    np.testing.assert_allclose(hours.drop(columns=["day", "hour"]).to_numpy().sum(axis=1), minutes)
    assert days["missing"].tolist() == pytest.approx([20 / 60, 0], abs=0.01)
    for name in labelled.labels:
        seconds = labelled.summary.set_index("label").loc[name, "seconds"]
        assert 60 * days[name].sum() == pytest.approx(seconds)


def test_without_dates_days_count_from_the_start(model, session) -> None:
    line = pd.DataFrame({"start_s": [0.0, 3000.0], "end_s": [3000.0, 90000.0], "label": ["slow", ""]})
    line["reason"] = ["", "not worn"]
    found = minutes(line, ("slow",), None, "day")
    assert found.to_dict("list") == {
        "day": [1, 2],
        "slow": [50.0, 0.0],
        "not worn": [1390.0, 60.0],
        "missing": [0.0, 0.0],
    }
    assert len(minutes(line, ("slow",), None, "hour")) == 25


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        (
            lambda t: {"a": t["x"], "b": t["y"]},
            {},
            "cannot tell which columns are the accelerometer's; the file has: a, b",
        ),
        (lambda t: {k: v for k, v in t.items() if k != "time"}, {}, "no time column; pass --rate HZ"),
        (lambda t: {**t, "time": np.arange(len(t["x"]))}, {}, "may be a counter; pass --rate"),
        (lambda t: {**t, "time": np.zeros(len(t["x"]))}, {}, "the time stamps in time are constant; pass --rate HZ"),
        (
            lambda t: {**t, "time": ["soon"] * len(t["x"])},
            {},
            "has no time stamps that can be read: 'soon' in time is neither a number nor a date; write it as seconds or as "
            "2024-05-14 10:00:00.000; pass --rate HZ, or --time COLUMN",
        ),
        (lambda t: {**t, "x": t["x"] * 4, "y": t["y"] * 4, "z": t["z"] * 4}, {}, "gravity in none of g"),
        (lambda t: {**t, "x": ["?"] * len(t["x"])}, {}, "no row holds numbers"),
        (lambda t: t, {"acc": ("x", "y", "w")}, "no column 'w'; the file has: time, x, y, z"),
        (lambda t: t, {"acc": ("x", "y")}, "--acc names 2 columns"),
        (lambda t: {k: v[:1] for k, v in t.items()}, {}, "is no table of numbers; its last full line is"),
    ],
)
def test_what_cannot_be_understood_is_said(tmp_path, session, change, columns, message) -> None:
    path = save(tmp_path, change(table(session[0])))
    with pytest.raises(ValueError, match=message):
        read(path, ReadOptions(**columns))


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02\xff\xfe" * 50, b"time,x,y,z\n1,2\n3,4,5,6,7,8\n"])
def test_files_that_are_no_table(tmp_path, content) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.csv"):
        read(path)


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no recording at"):
        read(tmp_path / "absent.csv")


def test_too_short_a_recording_is_refused_in_words(tmp_path, model, session) -> None:
    path = save(tmp_path, table(session[0][:60]))
    with pytest.raises(ValueError, match=r"longest stretch without a gap lasts 1.20 s; the model needs 2 s"):
        label(model, read(path))


def test_too_low_a_rate_is_refused_in_words(tmp_path, model, session) -> None:
    path = save(tmp_path, table(session[0][::4], 12.5))
    with pytest.raises(ValueError, match=r"12.5 Hz and the model was trained at 50 Hz"):
        label(model, read(path))


def test_a_missing_gyroscope_is_refused_in_words(tmp_path, windows, session) -> None:
    model = TransferClassifier(Strided(6, **windows.statistics()))
    model.fit(windows[draw_shots(windows.y, 2, seed=0)])
    with pytest.raises(ValueError, match=r"no gyro_x, gyro_y, gyro_z: record it"):
        label(model, read(save(tmp_path, table(session[0]))))
