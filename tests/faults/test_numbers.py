"""Numbers that no sensor measures are missing values, counted and said, or refused; none gets a label or makes a weight."""

from pathlib import Path

import numpy as np
import pytest
import torch

from otolith.checkpoints import checkpoint
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.block_statistics import block_statistics
from otolith.data.recording import ACCELEROMETER, Recording
from otolith.data.windows import SignalSpec, Windows
from otolith.datasets import own
from otolith.encoders import Strided
from otolith.formats.labels import place_labels, read_labels
from otolith.formats.read import read_sessions

BEYOND = ["1e30", "1e39", "-1e300", "inf", "-Infinity"]


def motion(count: int = 1500) -> np.ndarray:
    random, step = np.random.default_rng(0), np.arange(count)
    wave = np.stack([0.3 * np.sin(step / 7), 0.2 * np.cos(step / 9), 1 + 0.1 * np.sin(step / 5)], axis=1)
    return wave + random.normal(0, 0.02, (count, 3))


def table(path: Path, number: str, rows: slice, column: int = 1) -> Path:
    cells = [[f"{step / 50:.2f}", *(f"{value:.4f}" for value in row)] for step, row in enumerate(motion())]
    for row in cells[rows]:
        row[column] = number
    path.write_text("\n".join(map(",".join, [["time", "acc_x", "acc_y", "acc_z"], *cells])))
    return path


@pytest.mark.parametrize("number", BEYOND)
def test_in_a_recording_they_are_missing_values_which_are_counted(tmp_path: Path, number: str) -> None:
    (session,) = read_sessions([table(tmp_path / "a.csv", number, slice(300, 500))])
    assert "missing: 200 of 1,500 rows" in " ".join(fact.text for fact in session.facts)
    assert [len(one.signal) for one in session.recordings] == [300, 1000]
    assert all(np.abs(one.signal).max() < 3 for one in session.recordings)
    assert sum(gap.stop_s - gap.start_s for gap in session.missing) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("number", BEYOND)
def test_in_a_clock_they_cost_their_rows_alone(tmp_path: Path, number: str) -> None:
    (session,) = read_sessions([table(tmp_path / "a.csv", number, slice(700, 701), column=0)])
    assert 1490 <= sum(len(one.signal) for one in session.recordings) <= 1500
    assert session.seconds == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("number", BEYOND)
def test_a_recording_of_nothing_else_is_refused(tmp_path: Path, number: str) -> None:
    path = table(tmp_path / "a.csv", number, slice(None))
    with pytest.raises(ValueError, match="no row holds numbers"):
        read_sessions([path])
    with pytest.raises(ValueError, match="no row holds numbers"):
        list(own.parts(tmp_path, "own", "all"))


@pytest.mark.parametrize("number", [*BEYOND, "nan", "1e400"])
@pytest.mark.parametrize("column", [1, 2])
def test_in_a_labels_file_they_are_refused_with_their_line(tmp_path: Path, number: str, column: int) -> None:
    sessions = read_sessions([table(tmp_path / "a.csv", "0", slice(0))])
    cells = ["a", "0", "5", "walking", "p"]
    cells[column] = number
    labels = tmp_path / "labels.csv"
    labels.write_text("recording,start,end,label,person\n" + ",".join(cells))
    with pytest.raises(ValueError, match=r"'labels\.csv', line 2"):
        place_labels(read_labels(labels), {"a": sessions}, labels)


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, list[str], list[int]]:
    x = motion(6000).reshape(60, 100, 3).swapaxes(1, 2).astype(np.float32)
    x[1::2] *= 0.5
    return x, [str(window % 3) for window in range(60)], [window % 2 for window in range(60)]


@pytest.mark.parametrize("number", [1e30, 1e39, np.inf, -np.inf, np.nan])
def test_arrays_that_hold_them_are_refused_wherever_they_come_in(
    arrays: tuple[np.ndarray, list[str], list[int]], number: float
) -> None:
    x, subjects, y = arrays
    wrong = x.astype(np.float64)
    wrong[7, 1, 20] = number
    fitted = TransferClassifier(Strided(3)).fit(x, y)
    forest = ForestClassifier(trees=5).fit(x, y)
    for use in (
        lambda: Windows.from_arrays(wrong, rate_hz=50, channels=ACCELEROMETER, subjects=subjects, y=y),
        lambda: TransferClassifier(Strided(3)).fit(wrong, y),
        lambda: fitted.predict(wrong),
        lambda: fitted.predict_proba(wrong),
        lambda: ForestClassifier().fit(wrong, y),
        lambda: forest.predict(wrong),
    ):
        with pytest.raises(ValueError, match="window 7"):
            use()
    for use in (
        lambda: Recording("r", wrong[7].T, 50, ACCELEROMETER, "1", "wrist"),
        lambda: block_statistics(np.arange(100) / 50, wrong[7].T, 1.0),
    ):
        with pytest.raises(ValueError, match=r"time step 20|not finite"):
            use()


def test_weights_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    path, encoder = tmp_path / "c.safetensors", Strided(3)
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(ValueError, match=r"nothing was written to '.*', because training diverged: lower lr"):
        checkpoint.save(path, encoder, SignalSpec(50.0, ACCELEROMETER, 2.0), about={})
    assert not list(tmp_path.iterdir())


def test_a_classifier_whose_outputs_overflow_gives_no_label(arrays: tuple[np.ndarray, list[str], list[int]]) -> None:
    x, _, y = arrays
    fitted = TransferClassifier(Strided(3)).fit(x, y)
    with torch.no_grad():
        for weight in fitted.head_.parameters():
            weight.fill_(3e38)
    with pytest.raises(ValueError, match="of 60 windows are not finite"):
        fitted.predict(x)
