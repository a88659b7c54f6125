"""Files: written whole or not at all; archives checked before anything is read from them."""

import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from otolith.storage.files import (
    Archive,
    canonical_json,
    fingerprint,
    listing,
    recover,
    replacing,
    replacing_folder,
    sha256,
    unnested,
    write_text,
)
from otolith.storage.locks import claimed

MEMBERS = {"a/one.csv": b"1,2,3\n" * 400, "a/two.bin": bytes(range(256)) * 8, "read me.txt": b"hello"}


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def make_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)  # takes the name as it is; writestr(name) would tidy it
            info.compress_type = method
            archive.writestr(info, data)
    return path


def read_all(path: Path) -> dict[str, bytes]:
    with Archive(path) as archive:
        return {name: archive.read(name) for name in archive.names}


def test_replacing_shows_the_new_content_only_when_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for old, new in ((None, b"first"), (b"first", b"second")):
        with replacing(path) as part:
            part.write_bytes(new)
            assert (path.read_bytes() if path.exists() else None) == old
        assert tree(tmp_path) == {"new/a.txt": new}


def test_replacing_keeps_the_old_file_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert tree(tmp_path) == {"a.txt": b"old"}


def test_what_is_replaced_gets_ordinary_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    with replacing_folder(tmp_path / "b"):
        pass
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain.txt").touch()
    for ours, plain in (("a.txt", "plain.txt"), ("b", "plain")):
        assert stat.S_IMODE((tmp_path / ours).stat().st_mode) == stat.S_IMODE((tmp_path / plain).stat().st_mode)


def test_replacing_folder_replaces_all_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for files in ({"x": b"1", "deep/y": b"2"}, {"z": b"3"}):
        with replacing_folder(folder) as part:
            for name, data in files.items():
                (part / name).parent.mkdir(exist_ok=True)
                (part / name).write_bytes(data)
        assert tree(folder) == files
        assert [p.name for p in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize("older", [True, False])
def test_replacing_folder_leaves_everything_as_it_was_when_the_block_raises(tmp_path: Path, older: bool) -> None:
    folder = tmp_path / "corpus"
    if older:
        folder.mkdir()
        (folder / "x").write_bytes(b"old")
    before = tree(tmp_path)
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder) as part:
        (part / "x").write_bytes(b"half")
        raise KeyboardInterrupt
    assert tree(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == (["corpus"] if older else [])


KILLED = """
import sys
from pathlib import Path
from otolith.storage.files import replacing, replacing_folder
kind, path = sys.argv[1], Path(sys.argv[2])
with (replacing if kind == "file" else replacing_folder)(path) as part:
    target = part if kind == "file" else part / "x"
    with target.open("wb") as file:
        file.write(b"half")
        file.flush()
        print("written", flush=True)
        sys.stdin.read()  # until killed
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("older", [True, False])
def test_a_process_killed_while_writing_leaves_nothing_under_the_final_name(
    tmp_path: Path, kind: str, older: bool
) -> None:
    final = tmp_path / "final"
    content = final if kind == "file" else final / "x"
    if older:
        content.parent.mkdir(exist_ok=True)
        content.write_bytes(b"old")
    command = [sys.executable, "-c", KILLED, kind, str(final)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert any(p.name.endswith(".part") for p in tmp_path.iterdir())  # it did die in the middle
    assert (content.read_bytes() if final.exists() else None) == (b"old" if older else None)
    if kind == "folder":  # the next writer clears what the dead one left
        with replacing_folder(final) as part:
            (part / "x").write_bytes(b"new")
        assert tree(tmp_path) == {"final/x": b"new"}
        assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_a_folder_that_stepped_aside_comes_back_where_the_new_one_never_came(tmp_path: Path, monkeypatch) -> None:
    final = tmp_path / "final"
    with replacing_folder(final) as part:
        (part / "x").write_bytes(b"old")
    steps = []
    rename = Path.replace

    def dies_between_the_two_renames(self: Path, target: Path) -> Path:
        steps.append(target)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", dies_between_the_two_renames)
    with pytest.raises(KeyboardInterrupt), replacing_folder(final) as part:
        (part / "x").write_bytes(b"new")
    monkeypatch.undo()
    assert not final.exists()
    recover(final)
    assert tree(final) == {"x": b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_two_writers_of_one_folder_do_not_clear_each_others_work(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "x") as one:
        (one / "a").touch()
        with replacing_folder(tmp_path / "x") as two, replacing_folder(tmp_path / "x.v2") as other:
            (two / "b").touch()
            (other / "c").touch()
            assert (one / "a").exists()
    assert tree(tmp_path) == {"x/a": b"", "x.v2/c": b""}


def test_hashes_are_those_of_the_standard_library_and_blind_to_key_order(tmp_path: Path) -> None:
    data = os.urandom(1 << 10) * 1025  # more than one block
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()
    for start, count in ((0, 1 << 20), (5, 7), (1000, (1 << 20) + 3), (len(data) - 3, 9), (0, 0)):
        assert sha256(tmp_path / "a", start, count) == hashlib.sha256(data[start : start + count]).hexdigest()
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == r'{"a":"\u00e9","b":[1,2.5]}'
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"a": float("nan")})


def test_folder_and_zip_give_the_same_names_and_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name, data in MEMBERS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("a") if hasattr(archive, "mkdir") else archive.writestr("a/", b"")  # a folder is no member
        for name, data in reversed(MEMBERS.items()):
            archive.writestr(name, data)
    assert list(read_all(folder)) == list(read_all(tmp_path / "a.zip")) == sorted(MEMBERS)
    assert read_all(folder) == read_all(tmp_path / "a.zip") == MEMBERS


def test_nothing_at_the_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing at '.*absent\.zip': expected a folder or a \.zip file"):
        Archive(tmp_path / "absent.zip")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_half_a_zip_is_refused_with_its_size(tmp_path: Path, share: float) -> None:
    path = make_zip(tmp_path / "a.zip", MEMBERS, zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    size = f"{int(len(data) * share):,}"
    with pytest.raises(ValueError, match=rf"a\.zip' \({size} bytes\) is not a complete zip file: .*download it again"):
        Archive(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_corrupt_member_is_named_and_the_others_still_read(tmp_path: Path, method: int) -> None:
    path = make_zip(tmp_path / "a.zip", MEMBERS, method)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("a/one.csv")
    data = bytearray(path.read_bytes())
    data[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with Archive(path) as ours:
        with pytest.raises(ValueError, match=r"member 'a/one\.csv' of '.*a\.zip' is damaged: .+; download it again"):
            ours.read("a/one.csv")
        assert ours.read("a/two.bin") == MEMBERS["a/two.bin"]


def test_any_one_altered_byte_is_harmless_or_a_value_error(tmp_path: Path) -> None:
    members = {"a/x.csv": b"1,2,3\n" * 30, "b.txt": b"hello"}
    path = make_zip(tmp_path / "a.zip", members)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        for flip in (0x01, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                found = read_all(path)
            except ValueError:
                refused += 1
            else:
                assert found.items() <= members.items(), f"byte {place} altered"
    assert refused > len(whole) // 2  # the others are dates, versions and attributes


@pytest.mark.parametrize("name", ["../x", "/etc/x", "C:\\x", "a\\..\\..\\x", "a/../../x", "\\x", "c:x"])
def test_a_member_that_would_leave_its_folder_is_refused_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    path = make_zip(inner / "a.zip", {"good.csv": b"1", name: b"evil"})
    with zipfile.ZipFile(path) as archive:
        assert name in archive.namelist()  # the archive is as hostile as meant
    monkeypatch.chdir(inner)
    before = tree(tmp_path)
    with pytest.raises(ValueError) as caught:
        Archive(path)
    assert f"member named '{name}', which would leave its folder: refused" in str(caught.value)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["..a/x", "./a", "a/12:30.csv", "."])
def test_odd_but_harmless_member_names_are_read(tmp_path: Path, name: str) -> None:
    assert read_all(make_zip(tmp_path / "a.zip", {name: b"1"})) == {name: b"1"}


def test_a_member_that_declares_too_many_bytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"bomb": b"0" * 100})
    with Archive(path, max_member_bytes=100) as archive:
        assert archive.read("bomb") == b"0" * 100
    data = bytearray(path.read_bytes())
    field = data.index(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    data[field : field + 4] = (3_000_000_000).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    message = r"member 'bomb' of .* declares 3,000,000,000 bytes, more than 1,073,741,824"
    with Archive(path) as archive, pytest.raises(ValueError, match=message):
        archive.read("bomb")


def test_blocks_of_a_member_are_its_bytes(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", MEMBERS)
    (tmp_path / "a").write_bytes(MEMBERS["a/one.csv"])
    for source, name in ((path, "a/one.csv"), (tmp_path, "a")):
        with Archive(source) as archive:
            blocks = list(archive.blocks(name, 1000))
            assert [len(block) for block in blocks] == [1000, 1000, 400] and b"".join(blocks) == MEMBERS["a/one.csv"]
            assert archive.size(name) == 2400


def test_a_missing_file_of_a_folder_is_called_that(tmp_path: Path) -> None:
    with Archive(tmp_path) as archive, pytest.raises(FileNotFoundError, match="absent"):
        archive.read("absent")


CLAIMING = """
import sys
from pathlib import Path
from otolith.storage.locks import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_a_folder_that_another_process_has_claimed_is_free_when_that_has_ended(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "new" / "work"
    command = [sys.executable, "-c", CLAIMING, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "claimed\n"
        with pytest.raises(ValueError, match="work' is in use by another process; wait until it"), claimed(folder):
            raise AssertionError("two at once")
        if end == "killed":
            process.kill()
        process.communicate()
    for _ in range(2):
        with claimed(folder):
            assert folder.is_dir()


def test_a_listing_tells_whether_any_file_but_hidden_ones_was_exchanged(tmp_path: Path) -> None:
    for name in ("b.csv", "a/deep.csv", ".hidden", ".work/000.f32", "a/.part"):
        write_text(tmp_path / name, "1234")
        os.utime(tmp_path / name, ns=(5, 7_000))
    first = listing(tmp_path)
    assert first == [("a/deep.csv", 4, 7_000), ("b.csv", 4, 7_000)]
    assert listing(tmp_path / "b.csv") == [(".", 4, 7_000)]
    write_text(tmp_path / ".work" / "001.f32", "x")
    assert listing(tmp_path) == first
    os.utime(tmp_path / "b.csv", ns=(5, 7_001))
    assert listing(tmp_path) != first
    assert listing(tmp_path / "absent") == []


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


INNER = zipped(MEMBERS)


@pytest.mark.parametrize("given", ["zip", "folder"])
def test_zip_files_in_a_zip_file_are_taken_out_for_as_long_as_they_are_needed(tmp_path: Path, given: str) -> None:
    outer = {"x.zip": INNER, "top/Y.ZIP": INNER, "top/deep/z.zip": INNER, "__MACOSX/x.zip": b"", "readme.txt": b"1"}
    write_text(tmp_path / "source" / "notes.txt", "next to it")
    made = make_zip(tmp_path / "source" / "outer.zip", outer)
    before = tree(tmp_path)
    path = made if given == "zip" else made.parent
    with pytest.raises(KeyboardInterrupt), unnested(path, tmp_path / "data" / "corpus") as folder:
        assert folder is not None and folder.parents[1] == tmp_path / "data"
        assert tree(folder) == {"x.zip": INNER, "top-Y.ZIP": INNER}
        assert read_all(folder / "x.zip") == MEMBERS
        raise KeyboardInterrupt
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["none", "plain zip", "folder of two", "folder of none", "absent", "other file"])
def test_where_no_zip_file_lies_in_the_one_zip_file_the_path_stays(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    path: Path | None = folder
    if kind == "plain zip":
        path = make_zip(folder / "a.zip", MEMBERS | {"a/b/deep.zip": INNER, "x.zip.txt": b"", "zip": b""})
    elif kind == "folder of two":
        make_zip(folder / "a.zip", {"x.zip": INNER})
        make_zip(folder / "b.zip", {"x.zip": INNER})
    elif kind != "folder of none":
        path = {"none": None, "absent": folder / "absent.zip", "other file": Path(__file__)}[kind]
    with unnested(path, tmp_path / "data" / "corpus") as found:
        assert found == path
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("outer", "message"),
    [
        ({"x.zip": INNER, "../y.zip": INNER}, r"member named '\.\./y\.zip', which would leave its folder: refused"),
        ({"x.zip": INNER, "y.zip": INNER}, r"the zip files in '.*outer\.zip' declare [\d,]+ bytes, more than 1,000"),
    ],
)
def test_hostile_zip_files_in_zip_files_are_refused_before_anything_is_written(
    tmp_path: Path, outer: dict[str, bytes], message: str
) -> None:
    assert len(INNER) < 1000 < 2 * len(INNER)
    path = make_zip(tmp_path / "outer.zip", outer)
    with pytest.raises(ValueError, match=message), unnested(path, tmp_path / "data" / "corpus", max_bytes=1000):
        raise AssertionError("went on")
    assert not (tmp_path / "data").exists()


def test_a_damaged_inner_zip_file_leaves_nothing(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "outer.zip", {"x.zip": INNER}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"member 'x\.zip' of .* is damaged"), unnested(path, tmp_path / "d" / "c"):
        raise AssertionError("went on")
    assert not list((tmp_path / "d").iterdir())
