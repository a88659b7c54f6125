"""Device files of four makers: what is read of whole files, and that damaged or foreign ones are refused in words."""

import gzip
import io
import math
import struct
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("actfast")
from device_files import (
    START,
    cwa,
    cwa_header,
    cwa_sector,
    geneactiv,
    gt3x,
    gt3x_record,
    matrix,
    motion,
    packed12,
)
from otolith.data.resample import regular_pieces
from otolith.formats.devices import DeviceFile, device_kind, read_device

Writer = Callable[..., bytes]
WRITERS: dict[str, tuple[Writer, float]] = {
    "axivity": (cwa, 100.0),
    "actigraph": (gt3x, 30.0),
    "geneactiv": (geneactiv, 100.0),
    "matrix": (matrix, 100.0),
}


def written(tmp_path: Path, data: bytes, name: str = "recording.bin") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def read(tmp_path: Path, data: bytes, *, skip_damaged: bool = False) -> DeviceFile:
    return read_device(written(tmp_path, data), skip_damaged=skip_damaged)


def in_degrees(found: DeviceFile) -> np.ndarray:
    signal = found.signal.astype(np.float64)
    signal[:, 3:] *= 180 / math.pi
    return signal


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["a.cwa", "a.gt3x", "a.bin", "a.csv", "a"])
def test_whole_files_are_read_whatever_their_name(tmp_path: Path, kind: str, name: str) -> None:
    write, rate = WRITERS[kind]
    values = motion(1500)
    path = written(tmp_path, write(values), name)
    assert device_kind(path) == kind
    found = read_device(path)
    assert (found.kind, found.rate_hz, found.start) == (kind, rate, START)
    assert found.channels == ("acc_x", "acc_y", "acc_z")
    assert found.signal.dtype == np.float32 and found.time_s.dtype == np.float64
    np.testing.assert_allclose(found.signal, values, atol=0.0021)  # the coarsest has steps of 1/256 g
    np.testing.assert_allclose(found.time_s, np.arange(1500) / rate, atol=1e-4)
    assert (np.diff(found.time_s) > 0).all()


@pytest.mark.parametrize(
    ("data", "steps"),
    [
        (lambda values: cwa(values, packed=False, scale_code=3, gyro_dps=2000), (2.5e-4, 0.031)),
        (lambda values: cwa(values, packed=False, scale_code=2, gyro_dps=500), (5e-4, 0.008)),
        (lambda values: matrix(values, range_g=16, range_dps=1000), (6e-4, 0.031)),
    ],
)
def test_angular_rate_is_in_radians_per_second(
    tmp_path: Path, data: Callable[[np.ndarray], bytes], steps: tuple[float, float]
) -> None:
    values = motion(800, 6)
    values[:, 3:] *= np.array([400, -300, 200])
    found = read(tmp_path, data(values))
    assert found.channels[3:] == ("gyro_x", "gyro_y", "gyro_z")
    np.testing.assert_allclose(in_degrees(found)[:, :3], values[:, :3], atol=steps[0])
    np.testing.assert_allclose(in_degrees(found)[:, 3:], values[:, 3:], atol=steps[1])


def test_a_slower_gyroscope_is_put_on_the_accelerometers_clock(tmp_path: Path) -> None:
    turn = np.linspace(0, 90, 2000)
    values = np.column_stack([motion(2000), turn, -turn, turn])
    found = read(tmp_path, matrix(values, gyro_share=4))
    np.testing.assert_allclose(in_degrees(found)[:, 3], turn, atol=0.3)


@pytest.mark.parametrize("rate_code", [0x48, 0x49, 0x4A, 0x8B, 0xCC, 0x07])  # 25 to 400 Hz, and 12.5 Hz
def test_rates_of_axivity(tmp_path: Path, rate_code: int) -> None:
    rate = 3200 / 2 ** (15 - (rate_code & 15))
    found = read(tmp_path, cwa(motion(600), rate_code=rate_code))
    assert found.rate_hz == rate
    np.testing.assert_allclose(found.time_s, np.arange(600) / rate, atol=1e-4 if rate >= 25 else 0.09)
    assert found.facts["range"] == f"{16 >> (rate_code >> 6)} g"


@pytest.mark.parametrize("true_rate", [97.5, 99.7, 100.4, 103.0])
def test_samples_are_spread_over_the_time_to_the_next_block(tmp_path: Path, true_rate: float) -> None:
    found = read(tmp_path, cwa(motion(6000), true_rate=true_rate))
    np.testing.assert_allclose(found.time_s, np.arange(6000) / true_rate, atol=2e-4)
    assert found.rate_hz == 100.0
    assert f"({true_rate:.3f} by its clock)" in found.facts["rate"] or true_rate == 100


@pytest.mark.parametrize(
    ("data", "gap_s"),
    [
        (lambda values: cwa(values, drop=[4, 5]), 2.4),
        (lambda values: gt3x(values, drop=range(20, 50)), 30.0),
        (lambda values: gt3x(values, drop=range(20, 50), wide=True), 30.0),
        (lambda values: geneactiv(values, drop=[3]), 3.0),
        (lambda values: matrix(values, drop=[1]), 10.0),
    ],
)
def test_missing_blocks_are_gaps(tmp_path: Path, data: Callable[[np.ndarray], bytes], gap_s: float) -> None:
    found = read(tmp_path, data(motion(3000)))
    steps = np.diff(found.time_s)
    assert np.count_nonzero(steps > 0.5) == 1
    assert steps.max() == pytest.approx(gap_s + 1 / found.rate_hz, abs=2e-3)
    assert found.facts["gaps"].startswith("1, ")
    pieces = regular_pieces(found.time_s, found.signal, found.rate_hz)
    assert len(pieces) == 2
    assert sum(len(piece.signal) for piece in pieces) == pytest.approx(len(found.signal), abs=2)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("first", "count"), [(0, 200), (700, 500), (1300, 200), (400, 50)])
def test_runs_of_exact_zeros_are_gaps(tmp_path: Path, kind: str, first: int, count: int) -> None:
    write, rate = WRITERS[kind]
    values = motion(1500)
    values[first : first + count] = 0
    keep = np.delete(np.arange(1500), np.arange(first, first + count))
    options = {"offset": (0, 0, 0)} if kind == "geneactiv" else {}
    found = read(tmp_path, write(values, **options))
    np.testing.assert_allclose(found.signal, values[keep], atol=0.0021)
    np.testing.assert_allclose(found.time_s, (keep - keep[0]) / rate, atol=1e-4)
    assert (found.start - START).total_seconds() == pytest.approx(keep[0] / rate, abs=1e-3)
    assert "zeros" in found.facts


def test_a_few_zeros_are_measurements(tmp_path: Path) -> None:
    values = motion(1200)
    values[500:510] = 0  # a tenth of a second
    found = read(tmp_path, cwa(values))
    assert len(found.signal) == 1200 and "zeros" not in found.facts


def test_slow_measurements_and_facts(tmp_path: Path) -> None:
    axivity = read(tmp_path, cwa(motion(1200)))
    assert axivity.device == "Axivity AX3" and axivity.facts["device id"] == "12345"
    assert axivity.temperature is not None and axivity.light is not None and axivity.battery is not None
    assert axivity.temperature.values == pytest.approx(258 * 75 / 256 - 50, abs=1e-3)
    assert axivity.battery.values == pytest.approx(3 * (190 / 256 + 1), abs=1e-3)
    np.testing.assert_allclose(axivity.temperature.time_s, 1.2 * np.arange(10), atol=1e-3)
    assert axivity.light.values.tolist() == [300] * 10

    six = read(tmp_path, cwa(motion(400, 6), packed=False, scale_code=3))
    assert six.device == "Axivity AX6"

    actigraph = read(tmp_path, gt3x(motion(3000)))
    assert actigraph.device == "ActiGraph wGT3XBT" and actigraph.facts["device id"] == "MOS2A12345678"
    assert actigraph.temperature is None and actigraph.light is not None and actigraph.battery is not None
    assert actigraph.light.values.tolist() == [120, 120] and actigraph.light.time_s.tolist() == [0, 60]
    assert actigraph.battery.values == pytest.approx(4.1)
    assert not any("S1" in value for value in actigraph.facts.values())  # the person's name is no fact of the device

    gene = read(tmp_path, geneactiv(motion(900), light=30))
    assert gene.device == "GENEActiv 1.1" and gene.facts["time zone"] == "GMT +01:00"
    assert gene.temperature is not None and gene.light is not None
    assert gene.temperature.values == pytest.approx(31.2) and gene.light.values == pytest.approx(30 * 800 / 300)
    assert gene.temperature.time_s.tolist() == [0, 3, 6]

    other = read(tmp_path, matrix(motion(3000)))
    assert other.temperature is not None
    assert other.temperature.values == pytest.approx(31.2)
    assert other.temperature.time_s.tolist() == [0, 10, 20]


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("rate", [40.0, 85.7, 100.0])
def test_pages_of_geneactiv_with_any_decimal_mark(tmp_path: Path, decimal: str, end: str, rate: float) -> None:
    values = motion(700)  # the last page is not full
    found = read(tmp_path, geneactiv(values, decimal=decimal, end=end, rate=rate))
    assert found.rate_hz == rate
    np.testing.assert_allclose(found.signal, values, atol=0.0021)
    np.testing.assert_allclose(found.time_s, np.arange(700) / rate, atol=2e-3)  # page times are in milliseconds
    assert found.temperature is not None and found.temperature.values == pytest.approx(31.2)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("parameters", [False, True])
@pytest.mark.parametrize("filler", [b"", b"\0", b"\0\0\0\0\0"])
@pytest.mark.parametrize("scale", [256.0, 341.0])
def test_logs_of_actigraph(tmp_path: Path, wide: bool, parameters: bool, filler: bytes, scale: float) -> None:
    values = motion(900)
    found = read(tmp_path, gt3x(values, wide=wide, parameters=parameters, filler=filler, scale=scale))
    np.testing.assert_allclose(found.signal, values, atol=0.0021)
    assert found.rate_hz == 30


@pytest.mark.parametrize("rate", [30, 50, 80, 100])
def test_seconds_with_a_sample_more_or_less(tmp_path: Path, rate: int) -> None:
    """Devices write a sample more or less now and then; time runs on all the same."""
    counts = [rate, rate + 1, rate - 1, rate, rate + 1, rate]
    values = motion(sum(counts))
    first = int((START - datetime(1970, 1, 1)).total_seconds())
    raw = np.rint(values * 256)
    ends = np.cumsum(counts)
    log = b"".join(
        gt3x_record(0, first + second, packed12(raw[end - count : end]))
        for second, (end, count) in enumerate(zip(ends, counts, strict=True))
    )
    found = read(tmp_path, gt3x(values, rate=rate, log=log))
    assert len(found.signal) == sum(counts)
    steps = np.diff(found.time_s)
    assert (steps > 0.9 / rate).all() and (steps < 1.1 / rate).all()


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.2, 0.5, 0.77, 0.98])
def test_files_that_were_cut_off(tmp_path: Path, kind: str, share: float) -> None:
    data = WRITERS[kind][0](motion(3000))
    path = written(tmp_path, cut(data, share), {"actigraph": "a.gt3x"}.get(kind, "a.bin"))
    with pytest.raises(
        ValueError, match=r"'.*' is (no device file|an? .* that is damaged: .*; copy it again)"
    ) as caught:
        read_device(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_never_crash_nor_invent_motion(tmp_path: Path, kind: str, seed: int) -> None:
    """A flipped byte is an error, or lies in a place that is not read: the signal is then as written."""
    rng = np.random.default_rng(seed)
    values = motion(1500)
    data = bytearray(WRITERS[kind][0](values))
    for place in rng.integers(0, len(data), 1 + seed):
        data[place] ^= 1 << rng.integers(8)
    try:
        found = read(tmp_path, bytes(data))
    except ValueError as error:
        assert "\n" not in str(error) and str(tmp_path) in str(error)
        return
    if kind == "geneactiv":  # hex digits have no checksum: a digit may become another one
        assert (
            np.count_nonzero(np.abs(found.signal - values).max(axis=1) > 0.0021) <= 1 + seed
            or len(found.signal) != 1500
        )
    else:
        np.testing.assert_allclose(found.signal, values, atol=0.0021)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (lambda data: data[: 1024 + 512 * 7] + bytes(512) + data[1024 + 512 * 8 :], 3000 - 120),
        (lambda data: data[: 1024 + 512 * 7] + b"\xff" * 1024 + data[1024 + 512 * 9 :], 3000 - 240),
        (lambda data: data[:-200], 3000 - 120),
        (lambda data: data + b"AX", 3000),
    ],
)
def test_damaged_sectors_can_be_left_out(tmp_path: Path, data: Callable[[bytes], bytes], kept: int) -> None:
    damaged = data(cwa(motion(3000)))
    with pytest.raises(ValueError, match="skip_damaged=True"):
        read(tmp_path, damaged)
    found = read(tmp_path, damaged, skip_damaged=True)
    assert len(found.signal) == kept
    assert found.facts["damaged"].startswith("2 left out" if kept == 2760 else "1 left out")


def test_damaged_pages_and_packets_can_be_left_out(tmp_path: Path) -> None:
    values = motion(3000)
    text = geneactiv(values).decode()
    lines = text.split("\r\n")
    lines[59 + 10 * 4 + 9] = "XYZ" + lines[59 + 10 * 4 + 9][3:]  # the fifth page's samples
    gene = "\r\n".join(lines).encode()
    parts = bytearray(matrix(values))
    parts[524 + 36 + 500] ^= 1
    log = zipfile.ZipFile(io.BytesIO(gt3x(values))).read("log.bin")
    for data, kept in ((gene, 2700), (bytes(parts), 2000), (gt3x(values, log=log[: len(log) // 2]), None)):
        with pytest.raises(ValueError, match="skip_damaged=True"):
            read(tmp_path, data)
        found = read(tmp_path, data, skip_damaged=True)
        assert "damaged" in found.facts
        assert len(found.signal) == kept if kept else 1400 < len(found.signal) < 1600
        rows = np.rint(found.time_s * found.rate_hz).astype(int) + (1000 if found.kind == "matrix" else 0)
        np.testing.assert_allclose(found.signal, values[rows], atol=0.0021)


def test_a_header_that_asks_for_too_much_memory_takes_none(tmp_path: Path) -> None:
    """actfast ends the process on this number of pages."""
    with pytest.raises(ValueError, match="declares"):
        read(tmp_path, geneactiv(motion(900), declared=10**12))
    found = read(tmp_path, geneactiv(motion(900), declared=10**12), skip_damaged=True)
    assert len(found.signal) == 900


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"time,x,y,z\n0,0,0,1\n", "do not begin like"),
        (gzip.compress(cwa(motion(240))), "gunzip"),
        (b"SQLite format 3\0" + bytes(2000), r"\.agd"),
        (b"RIFF" + bytes(2000), "WAV"),
        (b"PK\x03\x04" + bytes(2000), "do not begin like"),
        (gt3x(motion(300), names=("info.txt", "activity.bin")), "first generation"),
        (gt3x(motion(300), log=b""), "no samples of acceleration"),
        (gt3x(motion(300), log=gt3x_record(28, 1_700_000_000, bytes(60))), "type"),
        (gt3x(motion(300), rate=2000), "sample rate of 2000 Hz"),
        (gt3x(motion(300), scale=0.001), "counts per g"),
        (cwa_header(), "no sector"),
        (cwa(motion(240)) + cwa(motion(240), rate_code=0x49)[1024:], "differ in their settings"),
        (geneactiv(motion(600)) + geneactiv(motion(600), rate=50.0).partition(b"Recorded")[2], "is damaged|differ"),
        (geneactiv(motion(600), gain=(0, 1, 1)), "x gain"),
        (matrix(np.zeros((0, 3))), "no packet"),
        (cwa(np.zeros((1200, 3))), "all of its samples are zero"),
    ],
)
def test_foreign_and_strange_files_are_refused_in_words(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        read(tmp_path, data)
    assert "\n" not in str(caught.value) and "recording.bin" in str(caught.value)


@pytest.mark.parametrize("back_s", [0.3, 5.0, 3600.0])
def test_a_clock_that_goes_back_is_refused(tmp_path: Path, back_s: float) -> None:
    raw = np.rint(motion(120) * 256)
    moments = [START, START + timedelta(seconds=1.2), START + timedelta(seconds=2.4 - back_s)]
    data = cwa_header() + b"".join(cwa_sector(raw, moment) for moment in moments)
    with pytest.raises(ValueError, match="its clock goes back: block 3 begins"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    "stamp", [0, 0xFFFFFFFF, (24 << 26) | (2 << 22) | (30 << 17), (24 << 26) | (13 << 22) | (1 << 17)]
)
def test_moments_that_no_calendar_has(tmp_path: Path, stamp: int) -> None:
    sector = bytearray(cwa_sector(np.rint(motion(120) * 256), START))
    sector[14:18] = struct.pack("<I", stamp)
    sector[510:] = bytes(2)
    sector[510:] = struct.pack("<H", -int(np.frombuffer(bytes(sector), "<u2").sum()) & 0xFFFF)
    with pytest.raises(ValueError, match="1 of 2 sectors are damaged, the first at byte 1,536"):
        read(tmp_path, cwa(motion(120)) + bytes(sector))


def test_longer_files_are_decoded_in_parts(tmp_path: Path) -> None:
    values = motion(800_000, size=0.3)
    found = read(tmp_path, cwa(values, packed=False))
    np.testing.assert_allclose(found.signal, values, atol=0.0021)
    assert (np.diff(found.time_s) > 0).all() and found.time_s[-1] == pytest.approx(7_999.99, abs=1e-3)


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no device file at"):
        read_device(tmp_path / "none.cwa")


@pytest.mark.parametrize(
    ("library", "error", "why"),
    [
        ("raise ImportError", ImportError, r"otolith\[devices\]"),
        ("import os; read = lambda path: os.abort()", ValueError, "broke off"),
        ("import sys; read = lambda path: sys.exit(3)", ValueError, "are damaged"),
        (
            "read = lambda path: {'timeseries': {'acceleration': {'acceleration': [[0, 0, 1]]}}}",
            ValueError,
            "decoded of",
        ),
        ("read = lambda path: print('noise') or 1 / 0", ValueError, "division by zero"),
    ],
)
def test_a_library_that_is_missing_or_fails_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, error: type[Exception], why: str
) -> None:
    (tmp_path / "actfast.py").write_text(library)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the process that decodes
    with pytest.raises(error, match=why) as caught:
        read(tmp_path, cwa(motion(600)))
    assert "\n" not in str(caught.value)
