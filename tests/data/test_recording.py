"""Recordings: what is refused, resampling against known signals, and a regular clock from time-stamped rows."""

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, STANDARD_GRAVITY, Recording, Span
from otolith.data.resample import regular_pieces, resample, resample_sinc


def make(**changes: object) -> Recording:
    parts = {
        "name": "r",
        "signal": np.zeros((10, 3), np.float32),
        "rate_hz": 50.0,
        "channels": ACCELEROMETER,
        "subject": "1",
        "placement": "wrist",
    }
    return Recording(**(parts | changes))


def test_a_sound_recording_is_accepted_and_knows_its_duration() -> None:
    recording = make(rate_hz=20.0, spans=(Span(0.0, 0.2, "a"), Span(0.2, 0.5, "b")))
    assert recording.seconds == 0.5
    assert STANDARD_GRAVITY == 9.80665


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("step", [0, 7, 9])
def test_a_value_that_is_not_finite_is_refused_with_its_time_step(value: float, step: int) -> None:
    signal = np.zeros((10, 3), np.float32)
    signal[step:, 1] = value
    with pytest.raises(ValueError, match=rf"recording 'r': time step {step} has .* not finite; .*regular_pieces"):
        make(signal=signal)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal": np.zeros(10, np.float32)}, "the signal has the shape (10,); expected (time, channels)"),
        ({"channels": ACCELEROMETER + GYROSCOPE}, "the signal has 3 columns but 6 channels are named"),
        ({"channels": ("acc_x", "acc_y", "acc_x")}, "a channel is named twice: acc_x, acc_y, acc_x"),
        ({"channels": ("acc_x", "acc_y", "mag_z")}, "unknown kind of channel 'mag_z'; known: acc, gyro"),
        ({"rate_hz": 0.0}, "the sampling rate is 0.0; expected a positive number of Hz"),
        ({"rate_hz": -50.0}, "the sampling rate is -50.0; expected a positive number of Hz"),
        ({"rate_hz": float("nan")}, "the sampling rate is nan; expected a positive number of Hz"),
        ({"rate_hz": float("inf")}, "the sampling rate is inf; expected a positive number of Hz"),
        ({"signal": np.zeros((0, 3), np.float32)}, "the signal has no time steps"),
        ({"spans": (Span(2.0, 1.0, "a"),)}, "label span (2.0, 1.0, 'a'): start must be before end, and not negative"),
        ({"spans": (Span(1.0, 1.0, "a"),)}, "label span (1.0, 1.0, 'a'): start must be before end, and not negative"),
        ({"spans": (Span(-1.0, 1.0, "a"),)}, "label span (-1.0, 1.0, 'a'): start must be before end, and not negative"),
        (
            {"spans": (Span(0.0, float("nan"), "a"),)},
            "label span (0.0, nan, 'a'): start must be before end, and not negative",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^recording 'r': {re.escape(message)}"):
        make(**changes)


RATES = [100.0, 20.0, 32.0, 51.2]


@pytest.mark.parametrize("rate_hz", RATES)
def test_resampling_keeps_a_sinusoid(rate_hz: float) -> None:
    def wave(rate: float, steps: int) -> np.ndarray:
        phase = 2 * np.pi * np.arange(steps) / rate
        return np.stack([np.sin(2 * phase), 0.5 * np.cos(3.5 * phase), 1 + 0.1 * np.sin(phase)], axis=1)

    steps = round(10 * rate_hz) + 3
    out = resample(wave(rate_hz, steps).astype(np.float32), rate_hz, 50.0)
    assert out.shape == (np.ceil(steps * 50 / rate_hz), 3) and out.dtype == np.float32
    inside = slice(25, -25)  # the filter looks past the ends; there the signal is a guess
    np.testing.assert_allclose(out[inside], wave(50.0, len(out))[inside], atol=2e-3)


def test_resampling_removes_what_the_new_rate_cannot_hold() -> None:
    tone = np.sin(2 * np.pi * 40 * np.arange(1000) / 100).astype(np.float32)[:, None]
    assert np.std(tone[::2]) > 0.6  # dropping every other step would fold it onto 10 Hz
    assert np.abs(resample(tone, 100.0, 50.0)[25:-25]).max() < 2e-3


@pytest.mark.parametrize("steps", [1, 2, 7, 500])
@pytest.mark.parametrize("rate_hz", RATES)
def test_resampling_keeps_gravity_constant_up_to_the_edges(rate_hz: float, steps: int) -> None:
    gravity = np.tile(np.array([0.3, -0.9, 0.2], np.float32), (steps, 1))
    out = resample(gravity, rate_hz, 50.0)
    assert len(out) == np.ceil(steps * 50 / rate_hz)
    np.testing.assert_allclose(out, np.broadcast_to(gravity[:1], out.shape), rtol=1e-3)


def test_the_same_rate_gives_the_same_numbers() -> None:
    signal = np.random.default_rng(0).normal(size=(99, 3)).astype(np.float32)
    np.testing.assert_array_equal(resample(signal, 50.0, 50.0), signal)


def ramp(time_s: np.ndarray) -> np.ndarray:
    """Two channels that are linear in time, so that linear interpolation gives them back exactly."""
    return np.stack([time_s, 3 - 2 * time_s], axis=1).astype(np.float64)


def assert_is_ramp(start_s: float, signal: np.ndarray, rate_hz: float, first_stamp: float = 0.0) -> None:
    assert signal.dtype == np.float32
    expected = ramp(first_stamp + start_s + np.arange(len(signal)) / rate_hz)
    np.testing.assert_allclose(signal, expected, atol=1e-5)


def test_a_long_gap_cuts_and_a_short_one_is_interpolated() -> None:
    time_s = 100 + np.arange(500) / 50  # ten seconds
    keep = np.ones(500, bool)
    keep[50:70] = False  # 0.42 s between rows: bridged
    keep[200:230] = False  # 0.62 s between rows: cut
    pieces = regular_pieces(time_s[keep], ramp(time_s)[keep], 50.0)
    assert [round(piece.start_s, 6) for piece in pieces] == [0.0, 4.6]
    assert [len(piece.signal) for piece in pieces] == [200, 270]
    for piece in pieces:
        assert_is_ramp(piece.start_s, piece.signal, 50.0, first_stamp=100.0)


def test_the_longest_bridged_gap_is_the_callers_choice() -> None:
    time_s = np.array([0.0, 0.1, 0.2, 1.2, 1.3])
    assert [len(p.signal) for p in regular_pieces(time_s, ramp(time_s), 10.0)] == [3, 2]
    (whole,) = regular_pieces(time_s, ramp(time_s), 10.0, max_gap_s=2.0)
    assert_is_ramp(whole.start_s, whole.signal, 10.0)
    assert len(whole.signal) == 14


def test_a_rate_slower_than_the_gap_limit_is_not_cut_at_every_row() -> None:
    time_s = np.arange(8.0)
    (whole,) = regular_pieces(time_s, ramp(time_s), 1.0)
    assert len(whole.signal) == 8


def test_rows_may_come_in_any_order_and_repeated_stamps_keep_their_first_row() -> None:
    random = np.random.default_rng(0)
    time_s = np.arange(100) / 50
    order = random.permutation(100)
    stamps = np.concatenate([time_s[order], time_s[order]])
    rows = np.concatenate([ramp(time_s)[order], np.full((100, 2), 99.0)])  # the repeats hold something else
    (whole,) = regular_pieces(stamps, rows, 50.0)
    assert len(whole.signal) == 100
    assert_is_ramp(whole.start_s, whole.signal, 50.0)


def test_rows_with_nan_count_as_missing() -> None:
    time_s = np.arange(300) / 50
    rows = ramp(time_s)
    rows[10:15, 0] = np.nan  # short
    rows[150:200, 1] = np.nan  # long
    rows[20] = np.inf
    stamps = time_s.copy()
    stamps[30] = np.nan
    pieces = regular_pieces(stamps, rows, 50.0)
    assert [len(piece.signal) for piece in pieces] == [150, 100]
    for piece in pieces:
        assert_is_ramp(piece.start_s, piece.signal, 50.0)


def test_a_jittered_clock_becomes_regular() -> None:
    random = np.random.default_rng(0)
    time_s = np.arange(400) / 50 + random.uniform(-0.008, 0.008, 400)
    (whole,) = regular_pieces(time_s, ramp(time_s), 50.0)
    assert_is_ramp(0.0, whole.signal[:-1], 50.0, first_stamp=time_s[0])
    assert abs(len(whole.signal) - 400) <= 1


def test_a_clock_that_is_regular_already_keeps_every_row() -> None:
    for steps in range(1, 300):  # 0.58 * 50 is less than 29
        time_s = np.arange(steps) / 50
        (whole,) = regular_pieces(time_s, ramp(time_s), 50.0)
        assert len(whole.signal) == steps


@pytest.mark.parametrize(
    "rows", [np.empty((0, 2)), np.full((5, 2), np.nan)], ids=["no rows at all", "no row that is finite"]
)
def test_nothing_in_nothing_out(rows: np.ndarray) -> None:
    assert regular_pieces(np.arange(float(len(rows))), rows, 50.0) == []


@pytest.mark.parametrize(
    ("rate_hz", "length", "values", "total"),
    [
        (1000, 250, (0.009239, 0.086745, 0.770821, 0.588020), 34.918167),
        (999, 251, (0.009229, 0.086659, 0.770260, 0.595117), 34.922135),
        (800, 313, (0.007384, 0.069432, 0.647330, 0.684837), 43.605051),
        (200, 1250, (0.001760, 0.017373, 0.175104, 0.982743), 174.399632),
        (20, 12500, (0.000012, 0.001367, 0.017596, 0.175030), 1743.929131),
    ],
)
def test_the_sinc_resampler_gives_what_torchaudio_gives(
    rate_hz: int, length: int, values: tuple[float, ...], total: float
) -> None:
    time, channel = np.arange(5000)[:, None], np.arange(6)[None]
    signal = np.sin(2 * np.pi * 0.7 * (channel + 1) * time / 1000)
    out = resample_sinc(signal, rate_hz, 50)
    assert out.shape == (length, 6) and out.dtype == np.float64
    np.testing.assert_allclose(out[[0, 1, 10, 100], 0], values, atol=1e-6)
    assert out.sum() == pytest.approx(total, abs=1e-5)
    np.testing.assert_allclose(resample_sinc(signal.astype(np.float32), rate_hz, 50), out, atol=1e-6)


def test_the_sinc_resampler_agrees_with_the_other_one_within_and_works_in_blocks() -> None:
    time = np.arange(60_000) / 1000
    signal = np.stack([np.sin(2 * np.pi * 3 * time), np.cos(2 * np.pi * 7 * time)], axis=1).astype(np.float32)
    ours, other = resample_sinc(signal, 1000, 50), resample(signal, 1000, 50)
    assert ours.shape == other.shape == (3000, 2)
    np.testing.assert_allclose(ours[50:-50], other[50:-50], atol=0.01)
    assert resample_sinc(signal, 50.0, 50.0) is signal
    assert resample_sinc(signal[:1], 1000, 50).shape == (1, 2)


SIGNAL = np.random.default_rng(0).normal([0, 0, 1], 0.1, (500, 3)).astype(np.float32)


def recorded(signal: Any, **changes: Any) -> Recording:
    arguments = {"rate_hz": 50.0, "channels": ACCELEROMETER, "subject": "s", "placement": "wrist"} | changes
    return Recording("r", signal, **arguments)


@pytest.mark.parametrize(
    "signal",
    [
        SIGNAL.astype(np.float64),
        SIGNAL.tolist(),
        np.asfortranarray(SIGNAL),
        torch.from_numpy(SIGNAL),
        pd.DataFrame(SIGNAL, columns=list(ACCELEROMETER)),
        pd.DataFrame(SIGNAL[:, ::-1], columns=list(ACCELEROMETER[::-1])).assign(time=0.0),
        pd.DataFrame(SIGNAL),
        {name: SIGNAL[:, axis] for axis, name in enumerate(ACCELEROMETER)},
    ],
    ids=["float64", "list", "fortran", "tensor", "frame", "frame in another order", "frame without names", "mapping"],
)
def test_signals_of_every_kind_are_converted(signal: Any) -> None:
    recording = recorded(signal)
    assert recording.signal.dtype == np.float32
    np.testing.assert_array_equal(recording.signal, SIGNAL)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (SIGNAL.T, r"expected \(time, channels\); its axes look swapped: pass signal.T"),
        ([[1.0, 2.0, 3.0], [1.0]], "the signal cannot be read as an array of numbers"),
        ([["a", "b", "c"]], "the signal cannot be read as an array of numbers: could not convert string"),
        (None, "the signal"),
        (SIGNAL > 0, "the signal has values of type bool; expected real numbers"),
        (SIGNAL.astype("datetime64[s]"), "values of type datetime64"),
        (
            pd.DataFrame(SIGNAL, columns=["x", "y", "z"]),
            r"columns are x, y, z; expected acc_x, .*Recording\.from_frame",
        ),
        (SIGNAL.astype(np.float64) * 1e300, "has a value that is not finite"),
        (np.ma.masked_greater(SIGNAL, 1.0), "has a value that is not finite"),
        (
            SIGNAL * 9.80665,
            r"the acceleration is 9\.\d+, and expected are about 1 g; the values look like m/s2: divide",
        ),
        (np.rint(SIGNAL * 1000).astype(np.int16), "the values look like mg: divide it by 1000"),
        (SIGNAL * 4096 * 4, "raw counts of the sensor"),
    ],
)
def test_signals_that_are_no_numbers_or_not_in_g_are_refused(signal: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recorded(signal)


def test_movement_without_gravity_and_short_throws_are_acceleration_in_g() -> None:
    assert recorded(SIGNAL - [0, 0, 1]).seconds == 10  # gravity removed
    throw = SIGNAL.copy()
    throw[:200] *= 12  # 4 s of 12 g
    assert recorded(throw).seconds == 10
    assert recorded(SIGNAL[:200] * 9.80665).seconds == 4  # too short to tell
    assert recorded(SIGNAL * 0).seconds == 10  # free fall


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rate_hz": "50"}, {"rate_hz": 50.0}),
        ({"rate_hz": np.float32(50)}, {"rate_hz": 50.0}),
        ({"subject": 7}, {"subject": "7"}),
        ({"subject": np.int64(7)}, {"subject": "7"}),
        ({"subject": 7.0}, {"subject": "7"}),
        ({"channels": list(ACCELEROMETER)}, {"channels": ACCELEROMETER}),
        ({"spans": [(0, 10, "walk")]}, {"spans": (Span(0.0, 10.0, "walk"),)}),
        ({"spans": [[0, "10", 3]]}, {"spans": (Span(0.0, 10.0, "3"),)}),
    ],
)
def test_other_arguments_are_converted(changes: dict, found: dict) -> None:
    recording = recorded(SIGNAL, **changes)
    assert {name: getattr(recording, name) for name in found} == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_hz": "fast"}, "the sampling rate is 'fast'; expected a positive number of Hz"),
        ({"rate_hz": True}, "the sampling rate is True"),
        ({"subject": ""}, "subject is ''"),
        ({"subject": 7.5}, "subject is 7.5"),
        ({"subject": float("nan")}, "subject is nan"),
        ({"subject": "a:b"}, r"subject 'a:b' must not contain ':' \(it separates corpus and subject\)"),
        ({"placement": " "}, "placement is ' '; expected text or a whole number"),
        ({"spans": [(0, 10)]}, r"label span \(0, 10\); expected \(start in s, end in s, label\)"),
        ({"spans": [("a", 10, "b")]}, "expected .start in s, end in s, label."),
        ({"spans": [(0, 10, None)]}, r"the label of span \(0, 10\) is None"),
        ({"channels": ()}, "no channel is named"),
    ],
)
def test_other_arguments_that_cannot_be_converted_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recorded(SIGNAL, **changes)


FRAME = pd.DataFrame(SIGNAL * 9.80665, columns=["ax", "ay", "az"]).assign(time=np.arange(500) / 50, who="bo")


class Polars:
    """A frame with the parts of polars's that are used: names, and columns with `__array__`."""

    columns = tuple(FRAME.columns)

    def __getitem__(self, name: str) -> pd.Series:
        return FRAME[name]


class Interchange:
    """A frame that has nothing but the interchange protocol."""

    def __dataframe__(self, *arguments: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return FRAME.drop(columns="who").__dataframe__(*arguments, **options)


@pytest.mark.parametrize("columns", [["ax", "ay", "az"], {"acc_z": "az", "acc_x": "ax", "acc_y": "ay"}])
@pytest.mark.parametrize(
    "frame", [FRAME, Polars(), FRAME.to_dict("series"), FRAME.astype({"ax": "Float64"}), Interchange()]
)
def test_recordings_of_frames(frame: Any, columns: Any) -> None:
    recording = Recording.from_frame(
        frame, rate_hz=50, columns=columns, units={"acc": "m/s2"}, subject=3, placement="hip", spans=[(0, 2, "walk")]
    )
    assert recording.channels == (ACCELEROMETER if isinstance(columns, list) else ("acc_z", "acc_x", "acc_y"))
    axes = [ACCELEROMETER.index(name) for name in recording.channels]
    np.testing.assert_allclose(recording.signal, SIGNAL[:, axes], rtol=1e-6)
    assert (recording.name, recording.subject, recording.placement) == ("3", "3", "hip")
    assert recording.spans == (Span(0.0, 2.0, "walk"),)


def test_recordings_of_frames_find_columns_that_are_named_as_channels_and_take_arrays_by_place() -> None:
    names = ACCELEROMETER + GYROSCOPE
    both = np.hstack([SIGNAL, SIGNAL])
    frame = pd.DataFrame(both, columns=list(names))[list(names[::-1])]
    for given in (frame, both, both.tolist()):
        recording = Recording.from_frame(given, rate_hz=50, subject="s", name="one")
        assert recording.channels == names and recording.name == "one"
        np.testing.assert_array_equal(recording.signal, both)
    turned = Recording.from_frame(frame, rate_hz=50, subject="s", units={"gyro": "deg/s"})
    np.testing.assert_allclose(turned.signal[:, 3:], np.radians(SIGNAL), rtol=1e-6)
    assert Recording.from_frame(both, rate_hz=50, subject="s", columns={"gyro_y": 4}).channels == ("gyro_y",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"no column is named as a channel \(acc_x, .*the columns are ax, ay, az, time, who; pass columns="),
        ({"columns": ["ax", "ay", "zz"]}, "the table has no column zz; it has ax, ay, az, time, who"),
        ({"columns": ["ax", "ay"]}, "columns is .*; expected three columns"),
        ({"columns": "ax"}, "columns is 'ax'"),
        (
            {"columns": ["ax", "ay", "who"]},
            "column 'who' cannot be read as an array of numbers: could not convert string",
        ),
        ({"columns": {"mag_x": "ax"}}, "unknown kind of channel 'mag_x'"),
        ({"columns": ["ax", "ay", "az"]}, r"like m/s2: .* or pass units={'acc': 'm/s2'} to Recording\.from_frame"),
        (
            {"columns": ["ax", "ay", "az"], "units": {"acc": "m/s^2"}},
            r"unknown unit 'm/s\^2' of acc; known: g, m/s2, mg",
        ),
        (
            {"columns": ["ax", "ay", "az"], "units": {"acc": "m/s2"}, "rate_hz": float("inf")},
            "the sampling rate is inf",
        ),
    ],
)
def test_frames_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^recording 's': .*{message}"):
        Recording.from_frame(FRAME, **({"rate_hz": 50.0, "subject": "s"} | changes))


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA])
def test_a_frame_with_missing_values_is_refused(missing: Any) -> None:
    frame = FRAME[["ax", "ay", "az"]].astype(object if missing is None else "Float64")
    frame.loc[20, "ay"] = missing
    with pytest.raises(ValueError, match="time step 20 has a value that is not finite"):
        Recording.from_frame(frame, rate_hz=50.0, subject="s", columns=["ax", "ay", "az"], units={"acc": "m/s2"})


def test_a_frame_with_two_columns_of_one_name_is_refused() -> None:
    frame = pd.DataFrame(np.hstack([SIGNAL, SIGNAL[:, :1]]), columns=["ax", "ay", "az", "ax"])
    with pytest.raises(ValueError, match="column 'ax' occurs more than once"):
        Recording.from_frame(frame, rate_hz=50.0, subject="s", columns=["ax", "ay", "az"])
