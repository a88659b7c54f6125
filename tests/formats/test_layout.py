"""Layouts: encodings, separators, decimal signs, lines before the table, headers, footers, compressed files, workbooks."""

import gzip
import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from motion import G, motion, save, stamps, table
from otolith.formats import ReadOptions, read_sessions


def check(path, expected, *, atol=2e-3, rows=None, **options):
    """The one session of a file, which must hold this acceleration."""
    (session,) = read_sessions([path], ReadOptions(**options))
    (recording,) = session.recordings
    assert recording.signal.shape[0] == (len(expected) if rows is None else rows), session.facts
    np.testing.assert_allclose(recording.signal[:, :3], expected[: len(recording.signal)], atol=atol)
    return session


@pytest.fixture
def made():
    time, acc, _gyro = motion(30)
    return table(time, acc), acc


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("quoting", [0, 1])
@pytest.mark.parametrize("header", [True, False])
def test_separators_and_decimal_signs(tmp_path, made, separator, decimal, quoting, header) -> None:
    frame, acc = made
    if separator == "," and decimal == "," and not quoting:
        pytest.skip("has no meaning")
    path = tmp_path / "a.csv"
    text = frame.round(5)
    text = text if not quoting else text.map(lambda v: f"{v:.5f}".replace(".", decimal))
    text.to_csv(path, index=False, sep=separator, decimal=decimal, quoting=quoting, header=header)
    check(path, acc)


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, made, encoding, newline) -> None:
    frame, acc = made
    names = ["time [s]", "acc_x [m/s²]", "acc_y [m/s²]", "acc_z [m/s²]"]
    frame = frame.set_axis(names, axis=1)
    frame[names[1:]] *= G
    path = tmp_path / "a.csv"
    path.write_bytes(frame.to_csv(index=False).replace("\n", newline).encode(encoding))
    session = check(path, acc)
    assert any("acceleration in m/s2" in f.text and not f.guessed for f in session.facts), "the header's unit is read"


BEFORE = {
    "comments": "# logger 1.2\n# rate 50 Hz\n",
    "percent": "% logger\n%\n",
    "slashes": "// logger\n",
    "keys and values": "Device,MyLogger\nOwner,Anna\n\nFirmware,1.2.3\n",
    "sep": "sep=,\n",
    "quoted sep": '"sep=,"\n',
    "rulers": "----------------\nSerial: A1\n----------------\n",
    "padded": "Device,MyLogger,,\nVersion,2,,\n,,,\n",
    "many": "".join(f"line {n}: some text\n" for n in range(120)),
    "blank lines": "\n\n\n",
}


@pytest.mark.parametrize("kind", list(BEFORE))
@pytest.mark.parametrize("header", [True, False])
def test_lines_before_the_table(tmp_path, made, kind, header) -> None:
    frame, acc = made
    check(save(tmp_path / "a.csv", frame, BEFORE[kind], header=header), acc)


def test_a_header_in_a_comment(tmp_path, made) -> None:
    frame, acc = made
    for sign, separator in (("# ", ","), ("#", "\t"), ("% ", " ")):
        check(save(tmp_path / "a.txt", frame, sign, sep=separator), acc)


@pytest.mark.parametrize("units", ["s,g,g,g", "s,G,G,G", "[s],[g],[g],[g]"])
def test_a_row_of_units(tmp_path, made, units) -> None:
    frame, acc = made
    lines = frame.to_csv(index=False).split("\n", 1)
    (tmp_path / "a.csv").write_text(f"{lines[0]}\n{units}\n{lines[1]}")
    session = check(tmp_path / "a.csv", acc)
    assert any("from the header" in f.text for f in session.facts)


def test_two_rows_of_names(tmp_path, made) -> None:
    frame, acc = made
    body = frame.assign(a=0.1, b=0.9, c=0.3).to_csv(index=False, header=False)
    (tmp_path / "a.csv").write_text(",Wrist,,,Ankle,,\ntime,acc_x,acc_y,acc_z,acc_x,acc_y,acc_z\n" + body)
    with pytest.raises(ValueError, match=r"several accelerometers: Wrist acc_x.*Ankle acc_x.*--sensor wrist"):
        read_sessions([tmp_path / "a.csv"])
    check(tmp_path / "a.csv", acc, sensor="wrist")


def test_a_header_that_is_repeated_and_a_footer(tmp_path, made) -> None:
    frame, acc = made
    lines = frame.to_csv(index=False).splitlines()
    lines = [*lines[:500], lines[0], *lines[500:], "Total rows: 1500", "end of file,,,"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    session = check(tmp_path / "a.csv", acc)
    assert any("repeat the header" in f.text for f in session.facts)


def test_columns_of_words_cost_no_row(tmp_path, made) -> None:
    frame, acc = made
    frame["activity"] = "walking, slowly"
    frame["light"] = np.nan
    frame["note"] = ""
    frame.insert(0, "code", "A")
    check(save(tmp_path / "a.csv", frame), acc)


@pytest.mark.parametrize("end", [",", ";", " ", ",,"])
def test_signs_at_the_end_of_lines(tmp_path, made, end) -> None:
    frame, acc = made
    for header in (True, False):
        text = frame.to_csv(index=False, header=header).replace("\n", f"{end}\n")
        (tmp_path / "a.csv").write_text(text)
        check(tmp_path / "a.csv", acc)


def test_dates_with_a_blank_in_a_table_of_blanks(tmp_path, made) -> None:
    frame, acc = made
    frame["time"] = stamps(frame["time"].to_numpy(), "%Y-%m-%d %H:%M:%S.%f")
    text = frame.to_csv(index=False, sep=" ").replace('"', "")
    (tmp_path / "a.txt").write_text(text)
    assert check(tmp_path / "a.txt", acc).start is not None


@pytest.mark.parametrize("name", ["a.csv.gz", "a.gz", "a.csv"])
def test_compressed_files(tmp_path, made, name) -> None:
    frame, acc = made
    (tmp_path / name).write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    assert check(tmp_path / name, acc).name == "a"


@pytest.mark.parametrize("inner", ["data.csv", "folder/data.txt"])
def test_a_zip_file_of_one_table(tmp_path, made, inner) -> None:
    frame, acc = made
    with zipfile.ZipFile(tmp_path / "mine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(inner, frame.to_csv(index=False))
        archive.writestr("__MACOSX/._data.csv", b"\0\1\2")
        archive.writestr("readme.txt", "words")
    assert check(tmp_path / "mine.zip", acc).name == "mine"


def test_parquet(tmp_path, made) -> None:
    pytest.importorskip("pyarrow")
    frame, acc = made
    frame.to_parquet(tmp_path / "a.parquet")
    check(tmp_path / "a.parquet", acc)
    when = pd.Timestamp("2024-05-01 10:00") + pd.to_timedelta(frame["time"], unit="s")
    frame.assign(time=when, who="x").to_parquet(tmp_path / "b.parquet")
    assert check(tmp_path / "b.parquet", acc).start == pd.Timestamp("2024-05-01 10:00")
    frame.assign(time=when.dt.tz_localize("Europe/Berlin")).to_parquet(tmp_path / "c.parquet")
    assert check(tmp_path / "c.parquet", acc).start.utctimetuple().tm_hour == 8


@pytest.mark.parametrize("before", [0, 3])
def test_excel(tmp_path, made, before) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    frame, acc = made
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Raw Data"
    for k in range(before):
        sheet.append([f"line {k}"])
    sheet.append(list(frame.columns))
    for row in frame.itertuples(index=False):
        sheet.append([float(v) for v in row])
    book.create_sheet("Metadata").append(["device", "x"])
    book.save(tmp_path / "a.xlsx")
    check(tmp_path / "a.xlsx", acc)


@pytest.mark.parametrize("named", ["when", None])
@pytest.mark.parametrize("kind", ["dates", "zoned", "durations"])
def test_parquet_with_the_clock_in_its_index(tmp_path, named, kind) -> None:
    pytest.importorskip("pyarrow")
    time, acc, _ = motion(30)
    clock = {
        "dates": pd.Timestamp("2024-05-14 10:00") + pd.to_timedelta(time, unit="s"),
        "zoned": pd.Timestamp("2024-05-14 10:00", tz="Europe/London") + pd.to_timedelta(time, unit="s"),
        "durations": pd.to_timedelta(time, unit="s"),
    }[kind]
    frame = table(time, acc).drop(columns="time").set_index(pd.Index(clock, name=named))
    frame.to_parquet(tmp_path / "a.parquet")
    if kind == "durations":
        frame.rename_axis("time").to_parquet(tmp_path / "a.parquet")
    check(tmp_path / "a.parquet", acc)


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_clock_without_a_name_is_found(tmp_path, name) -> None:
    time, acc, _ = motion(30)
    check(save(tmp_path / "a.csv", table(time, acc).rename(columns={"time": name})), acc)


@pytest.mark.parametrize(("sign", "decimal", "separator"), [(",", ".", ","), (",", ".", ";"), (".", ",", ";")])
@pytest.mark.parametrize("digits", [0, 2])
def test_groups_of_three_digits(tmp_path, sign, decimal, separator, digits) -> None:
    time, acc, _ = motion(30)
    swap = str.maketrans({",": sign, ".": decimal})
    frame = table([f"{t * 1000 + 900_000:,.{digits}f}".translate(swap) for t in time], acc)
    check(save(tmp_path / "a.csv", frame, sep=separator, decimal=decimal), acc)


def test_a_minus_as_typesetters_write_it(tmp_path) -> None:
    time, acc, _ = motion(30)
    frame = table(time, acc).astype(str)
    check(save(tmp_path / "a.csv", frame.apply(lambda c: c.str.replace("-", "\u2212"))), acc)


def test_columns_of_text_are_no_numbers(tmp_path) -> None:
    time, acc, _ = motion(30)
    frame = table(time, acc)
    frame["y"] = [f"{value:.3f} g" for value in frame["y"]]
    with pytest.raises(ValueError, match=r"'a.csv': .* cells in y are no numbers, such as '.* g'"):
        read_sessions([save(tmp_path / "a.csv", frame)], ReadOptions(acc=("x", "y", "z")))


def test_options_where_guessing_fails(tmp_path, made) -> None:
    frame, acc = made
    odd = frame.set_axis(["1", "2", "3", "4"], axis=1)
    path = save(tmp_path / "a.csv", odd, "1,2,3,4\n5,6,7,8\n9,1,2,3\n4,3,2,1\n")
    check(path, acc, skip_rows=5, header=False)
    bare = save(tmp_path / "b.csv", frame.iloc[:, [1, 2, 3, 0]], header=False)
    check(bare, acc, column_names=("x", "y", "z", "time"))
    check(bare, acc, acc=("0", "1", "2"), time="3")
    with pytest.raises(ValueError, match=r"--columns names 3 columns; its rows have 4"):
        read_sessions([bare], ReadOptions(column_names=("x", "y", "z")))
    with pytest.raises(ValueError, match=r"--skip-rows 9999 leaves no line"):
        read_sessions([bare], ReadOptions(skip_rows=9999))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"  \n\n", "is empty"),
        (b"\x00\x01\x02\xff\xfe" * 50, "binary"),
        (b"time,x,y,z\n", "1 lines of text"),
        (b"words\nand more words\nno table at all\n", "no table"),
        (b"time,x,y,z\n1,2\n3,4,5,6,7,8\n", "a.csv"),
        (b"\x1f\x8b\x08" + b"\x07" * 60, "damaged|cut off"),
        (b"PK\x03\x04" + b"\x07" * 60, "damaged zip"),
        (b"PAR1" + b"\x07" * 60, "Parquet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x07" * 60, "old Excel"),
        (b"\x89PNG\r\n\x1a\n" + b"\x01" * 60, "PNG image"),
        (b"BZh91AY&SY" + b"\x01" * 60, "bzip2"),
        (b"\xfd7zXZ\0" + b"\x01" * 60, "xz"),
        (b"\x89HDF\r\n\x1a\n" + b"\x01" * 60, "HDF5"),
        (b"\x93NUMPY" + b"\x01" * 60, "NumPy"),
        (b"\x80\x04\x95" + b"\x01" * 60, "pickle"),
        (b"<html><body>Not found</body></html>\n" * 20, "no table"),
        (b'{"a": 1, "b": [1, 2, 3]}\n' * 20, "a.csv"),
    ],
)
def test_files_that_are_no_table_are_refused_by_name(tmp_path, content, message) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_sessions([tmp_path / "a.csv"])
    assert "a.csv" in str(error.value)


def test_damaged_archives(tmp_path, made) -> None:
    frame, _ = made
    whole = gzip.compress(frame.to_csv(index=False).encode())
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"'a.csv.gz' is damaged"):
        read_sessions([tmp_path / "a.csv.gz"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", frame.to_csv(index=False))
    data = bytearray(buffer.getvalue())
    data[200:300] = bytes(100)
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(ValueError, match=r"b.zip"):
        read_sessions([tmp_path / "b.zip"])


def test_an_archive_that_unpacks_to_too_much(tmp_path, made) -> None:
    frame, _ = made
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    with pytest.raises(ValueError, match=r"holds more than 20,000 bytes"):
        read_sessions([tmp_path / "a.csv.gz"], ReadOptions(max_bytes=20_000))


def test_missing_files_and_empty_folders(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no recording at"):
        read_sessions([tmp_path / "absent.csv"])
    (tmp_path / "words.docx").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"holds no recording"):
        read_sessions([tmp_path])
