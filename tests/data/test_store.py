"""The store: what goes in comes out, whole or not at all, and an altered one is refused."""

import dataclasses
import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from otolith.data import prepare as prepare_module
from otolith.data.prepare import prepare, prepare_iter
from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span
from otolith.data.resample import resample
from otolith.data.store import MANIFEST, MOMENTS, SIGNAL, Store, open_store
from otolith.datasets import DATASETS
from otolith.datasets.prepare import prepare_dataset
from otolith.storage.files import fingerprint


def make(name: str, steps: int = 30, **changes: object) -> Recording:
    channels = changes.get("channels", ACCELEROMETER)
    signal = np.random.default_rng([steps, *name.encode()]).normal(size=(steps, len(channels)))
    parts = {"rate_hz": 50.0, "channels": channels, "subject": name[0], "placement": "wrist", "spans": ()}
    return Recording(name=name, signal=signal.astype(np.float32), **(parts | changes))


RECORDINGS = [
    make("p1", 40, spans=(Span(0.0, 0.3, "walk"), Span(0.5, 9.0, "run"))),
    make("q1", 7, placement="ankle"),
    make("p2", 21, spans=(Span(0.1, 0.2, "run"),)),
]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_corpus_comes_back_as_it_was_given(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "corpus"
    about = {"licence": "MIT", "pages": [1, 2]}
    written = prepare(iter(RECORDINGS), folder, dataset="mine", labels=("sit", "run"), about=about)
    for store in (written, open_store(folder)):
        assert (store.folder, store.dataset, store.about, store.rate_hz) == (folder, "mine", about, 50.0)
        assert store.channels == ACCELEROMETER
        assert store.labels == ("sit", "run", "walk")  # the given order first, then as met
        assert store.subjects == ("p", "q")
        for entry, recording in zip(store.entries, RECORDINGS, strict=True):
            assert store.signal(entry).dtype == np.float32
            np.testing.assert_array_equal(store.signal(entry), recording.signal)
        assert [(e.name, e.subject, e.placement, e.start, e.steps, e.native_rate_hz) for e in store.entries] == [
            ("p1", "p", "wrist", 0, 40, 50.0),
            ("q1", "q", "ankle", 120, 7, 50.0),  # three channels
            ("p2", "p", "wrist", 141, 21, 50.0),
        ]
        # (first row, end row, label number); a span that outlasts its recording ends with it.
        assert [e.spans for e in store.entries] == [((0, 15, 2), (25, 40, 1)), (), ((5, 10, 1),)]
    assert open_store(folder).hash == written.hash
    assert set(files(folder)) == {MANIFEST, MOMENTS, SIGNAL} and [p.name for p in folder.parent.iterdir()] == ["corpus"]


def test_all_rates_become_one_and_the_native_one_is_remembered(tmp_path: Path) -> None:
    rates = [100.0, 20.0, 50.0, 51.2]
    given = [make(f"r{i}", 101, rate_hz=rate, spans=(Span(0.5, 1.0, "a"),)) for i, rate in enumerate(rates)]
    store = prepare(given, tmp_path / "c", dataset="d")
    assert store.rate_hz == 50.0
    assert [entry.native_rate_hz for entry in store.entries] == rates
    for recording, entry in zip(given, store.entries, strict=True):
        expected = resample(recording.signal, recording.rate_hz, 50.0)
        assert entry.steps == len(expected) and entry.spans == ((25, 50, 0),)
        np.testing.assert_array_equal(store.signal(entry), expected)
    assert prepare(given, tmp_path / "slow", dataset="d", rate_hz=10.0).entries[0].spans == ((5, 10, 0),)


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    def identity(recordings: list[Recording], **changes: object) -> str:
        return prepare(recordings, tmp_path / "c", **({"dataset": "d"} | changes)).hash

    first = identity([make("a")])
    assert first == identity([make("a")])
    others = [
        identity([make("a", subject="other")]),
        identity([make("a", 31)]),
        identity([make("a", spans=(Span(0.0, 0.1, "x"),))]),
        identity([make("a")], rate_hz=25.0),
        identity([make("a")], dataset="e"),
    ]
    assert len({first, *others}) == 6


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ([], "no recordings to prepare for 'd'"),
        ([make("a"), make("b"), make("a", 9)], "two recordings are named 'a'; expected different names in a corpus"),
        (
            [make("a"), make("b", channels=ACCELEROMETER + GYROSCOPE)],
            "recording 'b' has the channels acc_x, acc_y, acc_z, gyro_x, .*, and those before have acc_x, acc_y, acc_z; ",
        ),
        (
            [make("a"), make("b", channels=ACCELEROMETER[::-1])],
            "recording 'b' has the channels acc_z, acc_y, acc_x, and ",
        ),
    ],
    ids=["none", "one name twice", "other channels", "other order of channels"],
)
def test_recordings_that_make_no_corpus_are_refused_and_nothing_is_left(
    tmp_path: Path, recordings: list[Recording], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(recordings, tmp_path / "c", dataset="d")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("older", [True, False])
def test_an_interrupted_prepare_leaves_nothing_or_the_older_store(tmp_path: Path, older: bool) -> None:
    folder = tmp_path / "c"
    if older:
        prepare([make("old")], folder, dataset="d")
    before = files(folder) if older else {}

    def broken() -> Iterator[Recording]:
        yield make("a")
        yield make("b")
        raise OSError("the disk was pulled out")

    with pytest.raises(OSError, match="pulled out"):
        prepare(broken(), folder, dataset="d")
    assert [p.name for p in tmp_path.iterdir()] == (["c"] if older else [])
    assert (files(folder) if older else {}) == before


def rewrite(folder: Path, change: Callable[[dict], None], *, rehash: bool = False) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    if rehash:
        del manifest["hash"]
        manifest["hash"] = fingerprint(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: os.truncate(f / SIGNAL, 400),
            r"signal\.f32' has 400 bytes; its manifest says 816; prepare it again",
        ),
        (lambda f: (f / SIGNAL).write_bytes((f / SIGNAL).read_bytes() + b"1234"), "has 820 bytes; .* says 816"),
        (lambda f: (f / SIGNAL).unlink(), "has 0 bytes; its manifest says 816; prepare it again"),
        (lambda f: rewrite(f, lambda m: m["recordings"][0].update(subject="q")), "does not match its hash; prepare it"),
        (lambda f: rewrite(f, lambda m: m.update(labels=["run", "walk"])), "does not match its hash; prepare it"),
        (lambda f: rewrite(f, lambda m: m.update(rate_hz=25.0)), "does not match its hash; prepare it"),
        (lambda f: rewrite(f, lambda m: m.pop("hash")), "does not match its hash; prepare it"),
        (
            lambda f: rewrite(f, lambda m: m.update(format=1), rehash=True),
            "its store format is 1, and this version reads format 2; prepare it again",
        ),
        (
            lambda f: os.truncate(f / MOMENTS, 4),
            r"moments\.f32' has 4 bytes; its manifest says 24; prepare it again",
        ),
        (lambda f: (f / MOMENTS).unlink(), "has 0 bytes; its manifest says 24; prepare it again"),
        (
            lambda f: rewrite(f, lambda m: m.pop("values"), rehash=True),
            "damaged or altered: 'values'; prepare it again",
        ),
        (lambda f: (f / MANIFEST).write_text("{"), r"manifest\.json' is damaged or altered: .*; prepare it again"),
        (
            lambda f: (f / MANIFEST).write_text("[1]"),
            "damaged or altered: it is not the manifest of a store; prepare it again",
        ),
        (lambda f: (f / MANIFEST).write_text(""), "damaged or altered: .*; prepare it again"),
        (lambda f: (f / MANIFEST).write_bytes(b"\xff\xfe{}"), r"manifest\.json' is damaged: .*; prepare it again"),
    ],
    ids=[
        "signal cut off",
        "signal too long",
        "signal gone",
        "another subject",
        "labels exchanged",
        "another rate",
        "no hash",
        "another format",
        "moments cut off",
        "moments gone",
        "a fact gone",
        "half of JSON",
        "other JSON",
        "empty",
        "not text",
    ],
)
def test_a_damaged_store_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], message: str, verify: bool
) -> None:
    prepare(RECORDINGS, tmp_path / "c", dataset="d")
    open_store(tmp_path / "c", verify=verify)
    damage(tmp_path / "c")
    with pytest.raises(ValueError, match=message):
        open_store(tmp_path / "c", verify=verify)


@pytest.mark.parametrize("name", [SIGNAL, MOMENTS])
def test_one_altered_bit_is_refused(tmp_path: Path, name: str) -> None:
    prepare(RECORDINGS, tmp_path / "c", dataset="d")
    flip(tmp_path / "c" / name)
    with pytest.raises(ValueError, match=rf"{name}' was altered: its SHA-256 does not match .*; prepare it again"):
        open_store(tmp_path / "c")


@pytest.mark.parametrize("what", ["folder", "manifest", "a file in its place"])
def test_where_there_is_no_store_the_error_says_how_to_make_one(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "walks"
    prepare(RECORDINGS, folder, dataset="d")
    if what == "manifest":
        (folder / MANIFEST).unlink()
    else:
        shutil.rmtree(folder)
    if what == "a file in its place":
        folder.touch()
    message = rf"no prepared corpus at '{re.escape(str(folder))}': expected .*run: otolith prepare walks --source DIR"
    with pytest.raises(FileNotFoundError, match=message):
        open_store(folder)


def test_opening_and_writing_to_the_opened_array_change_nothing_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    prepare(RECORDINGS, folder, dataset="d")
    paths = [folder, folder / MANIFEST, folder / MOMENTS, folder / SIGNAL]
    before = files(folder), [path.stat().st_mtime_ns for path in paths]
    store = open_store(folder)
    assert (files(folder), [path.stat().st_mtime_ns for path in paths]) == before
    for array in (store.values, store.blocks):
        array[:] = 7.0
        array.flush()
    del array, store
    assert (files(folder), [path.stat().st_mtime_ns for path in paths]) == before
    open_store(folder)


def test_preparing_holds_few_recordings_in_memory_however_many_there_are(tmp_path: Path) -> None:
    count, steps = 40, 25_000
    size = steps * 3 * 4  # bytes of one recording

    def many() -> Iterator[Recording]:
        for number in range(count):
            yield Recording(
                str(number), np.full((steps, 3), number / 100, np.float32), 50.0, ACCELEROMETER, "s", "wrist"
            )

    tracemalloc.start()
    try:
        store: Store = prepare(many(), tmp_path / "c", dataset="d")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert store.values.nbytes == count * size
    assert peak < 6 * size  # one, its bytes to write, and the next one being made
    np.testing.assert_array_equal(store.values[:: 3 * steps], (np.arange(count) / 100).astype(np.float32))


@pytest.mark.parametrize("rate_hz", [50.0, 20.0, 1.0])
def test_moments_are_those_of_whole_blocks_of_half_a_second(tmp_path: Path, rate_hz: float) -> None:
    steps = {50.0: 25, 20.0: 10, 1.0: 1}[rate_hz]
    given = [make("a", 7 * steps + steps // 2, rate_hz=rate_hz), make("b", 3 * steps, rate_hz=rate_hz)]
    given += [make("c", max(1, steps - 1), rate_hz=rate_hz)]  # shorter than a block, but for the last rate
    store = prepare(given, tmp_path / "c", dataset="d", rate_hz=rate_hz)
    assert store.block_steps == steps
    for entry, recording in zip(store.entries, given, strict=True):
        blocks = len(recording.signal) // steps
        mean, squares = store.moments(entry)
        wide = recording.signal[: blocks * steps].T.astype(np.float64).reshape(3, blocks, steps)
        np.testing.assert_allclose(mean, wide.mean(axis=2), rtol=1e-6)
        np.testing.assert_allclose(squares, wide.var(axis=2) * steps, rtol=1e-6, atol=1e-12)
    assert len(store.blocks) == sum(store.moments(entry).size for entry in store.entries)


def test_a_store_without_one_block_opens(tmp_path: Path) -> None:
    store = prepare([make("a", 24)], tmp_path / "c", dataset="d")
    assert open_store(tmp_path / "c").moments(store.entries[0]).shape == (2, 3, 0)


def read_part(
    log: Path, name: str, count: int, seconds: float = 0.0, fails: str = "", after: str | None = None
) -> Iterator[Recording]:
    """A part's recordings, `seconds` apart, each labelled with the part's name; `log` knows who read it.

    It waits until the part `after` is being read, and `fails` if there is no such file.
    """
    while after and after not in read_so_far(log):
        time.sleep(0.01)
    for number in range(count):
        time.sleep(seconds)
        with log.open("a") as file:
            file.write(f"{name} {os.getpid()}\n")
        yield make(f"{name}{number}", 60 + 7 * number, rate_hz=20.0, spans=(Span(0.0, 1.0, f"label {name}"),))
    if fails and not Path(fails).exists():
        raise ValueError(f"'{name}.csv' was cut off")


def make_parts(log: Path, **of_part: dict) -> list[Part]:
    names = {"x": 3, "y/1": 1, "z": 2, "nothing": 0}
    return [
        Part(name, partial(read_part, log, name, **{"count": n} | of_part.get(name[0], {})))
        for name, n in names.items()
    ]


def read_so_far(log: Path) -> list[str]:
    """Names of the parts in the order in which their reading began."""
    return list(dict.fromkeys(line.split()[0] for line in log.read_text().splitlines())) if log.exists() else []


def whole(tmp_path: Path) -> Store:
    """What the parts make if nothing interrupts them."""
    return prepare(make_parts(tmp_path / "log of whole"), tmp_path / "whole" / "c", dataset="d", labels=("a",))


def test_parts_make_the_same_store_in_any_number_of_processes(tmp_path: Path) -> None:
    expected = whole(tmp_path)
    assert expected.labels == ("a", "label x", "label y/1", "label z")
    assert [entry.name for entry in expected.entries] == ["x0", "x1", "x2", "y/10", "z0", "z1"]
    log = tmp_path / "log"
    recordings = [r for part in make_parts(log) for r in part.read()]
    assert prepare(iter(recordings), tmp_path / "c", dataset="d", labels=("a",)).hash == expected.hash
    log.unlink()
    parts = make_parts(log, x={"seconds": 0.1, "after": "z"})  # the first part is not the first to be ready
    how = {"labels": ("a",), "rate_hz": 50.0, "about": {}, "source_key": "k", "jobs": 2}
    found = list(prepare_iter(parts, tmp_path / "c", dataset="d", **how))
    assert files(tmp_path / "c") == files(tmp_path / "whole" / "c")
    assert [(record.done, record.of) for record in found] == [(n, 4) for n in (1, 2, 3, 4)]
    assert {(record.name, record.recordings) for record in found} == {("x", 3), ("y/1", 1), ("z", 2), ("nothing", 0)}
    times = {record.name: record.seconds for record in found}
    assert [name for name in times if name in "xz"] == ["z", "x"] and times["x"] > 0.3
    readers = {line.split()[1] for line in log.read_text().splitlines()}
    assert len(readers) == 2 and str(os.getpid()) not in readers
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "log", "log of whole", "whole"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_part_that_fails_is_named_and_what_is_finished_is_not_read_again(tmp_path: Path, jobs: int) -> None:
    folder, log = tmp_path / "c", tmp_path / "log"
    how = {"labels": ("a",), "rate_hz": 50.0, "about": {}, "source_key": "k"}
    parts = make_parts(log, z={"fails": str(tmp_path / "mended")})
    done = []
    with pytest.raises(ValueError, match=r"^part 'z' cannot be prepared: 'z\.csv' was cut off$"):
        for record in prepare_iter(parts, folder, dataset="d", **how, jobs=jobs):
            done.append(record.name)
    assert (done == ["x", "y/1"] if jobs == 1 else "z" not in done) and "z" in read_so_far(log)
    assert not folder.exists() and (tmp_path / ".c.work").is_dir()
    (tmp_path / "mended").touch()
    log.unlink()
    found = list(prepare_iter(parts, folder, dataset="d", **how, jobs=1))
    taken_over = {record.name for record in found if record.seconds == 0}
    assert [record.done for record in found] == [1, 2, 3, 4] and {r.name: r.recordings for r in found}["x"] == 3
    assert set(done) <= taken_over and set(read_so_far(log)) == {"x", "y/1", "z"} - taken_over
    assert open_store(folder).hash == whole(tmp_path).hash and not (tmp_path / ".c.work").exists()


def test_an_error_of_the_disk_stays_one_and_an_older_store_stays(tmp_path: Path) -> None:
    prepare([make("old")], tmp_path / "c", dataset="d")
    before = files(tmp_path / "c")

    def broken() -> Iterator[Recording]:
        yield make("a")
        raise FileNotFoundError("no such file")

    with pytest.raises(OSError, match=r"^part 'p' cannot be prepared: no such file$"):
        prepare([Part("p", broken)], tmp_path / "c", dataset="d", source_key="k")
    assert files(tmp_path / "c") == before


@pytest.mark.parametrize("change", ["source", "rate", "parts", "dataset", "code", "no key", "nothing"])
def test_parts_of_another_source_or_reader_are_never_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    log, how = tmp_path / "log", {"dataset": "d", "labels": ("a",), "source_key": "k"}
    parts = make_parts(log, z={"fails": str(tmp_path / "mended")})
    with pytest.raises(ValueError, match="part 'z'"):
        prepare(parts, tmp_path / "c", **how)
    (tmp_path / "mended").touch()
    log.unlink()
    if change == "code":
        monkeypatch.setattr(prepare_module, "reading_code", lambda: {"store.py": "other"})
    if change == "parts":
        parts[0] = parts[0]._replace(name="w")
    how |= {"source": {"source_key": "other"}, "rate": {"rate_hz": 25.0}, "dataset": {"dataset": "e"}}.get(change, {})
    how |= {"source_key": None} if change == "no key" else {}
    prepare(parts, tmp_path / "c", **how)
    assert read_so_far(log) == (["z"] if change == "nothing" else ["x", "y/1", "z"])
    assert not (tmp_path / ".c.work").exists()


def test_the_code_that_reads_is_all_of_the_readers() -> None:
    known = prepare_module.reading_code()
    assert {
        "storage/files.py",
        "data/recording.py",
        "data/store.py",
        "datasets/spar.py",
        "datasets/card.py",
        "formats/read.py",
        "formats/rows.py",
        "formats/devices/read.py",
    } <= set(known)
    assert len(set(known.values())) == len(known)


def test_without_a_key_nothing_is_left_behind(tmp_path: Path) -> None:
    parts = make_parts(tmp_path / "log", z={"fails": "absent"})
    with pytest.raises(ValueError, match="part 'z'"):
        prepare(parts, tmp_path / "data" / "c", dataset="d")
    assert not list((tmp_path / "data").iterdir())


def test_what_was_left_behind_without_a_key_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed before it could clear up
    with pytest.raises(ValueError, match="part 'z'"):
        prepare(make_parts(log, z={"fails": "absent"}), tmp_path / "c", dataset="d")
    monkeypatch.undo()
    assert (tmp_path / ".c.work" / "000000.json").exists()
    log.unlink()
    prepare(make_parts(log), tmp_path / "c", dataset="d")
    assert read_so_far(log) == ["x", "y/1", "z"] and not (tmp_path / ".c.work").exists()


def test_new_labels_are_numbered_as_they_are_met(tmp_path: Path) -> None:
    spans = tuple(Span(n / 10, (n + 1) / 10, label) for n, label in enumerate(("m", "known", "z", "a", "z", "m")))
    store = prepare(
        [make("r", spans=spans), make("s", spans=spans[::-1])], tmp_path / "c", dataset="d", labels=["known"]
    )
    assert store.labels == ("known", "m", "z", "a")
    assert [number for *_, number in store.entries[0].spans] == [1, 0, 2, 3, 2, 1]
    assert [number for *_, number in store.entries[1].spans] == [1, 2, 3, 2, 0, 1]


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("000000.f32", flip),
        ("000000.f32", cut_off),
        ("000000.f32", Path.unlink),
        ("000000.json", cut_off),
        ("000000.json", Path.unlink),
    ],
)
def test_a_damaged_leftover_is_read_again(tmp_path: Path, damage: Callable[[Path], object], name: str) -> None:
    log = tmp_path / "log"
    parts = make_parts(log, z={"fails": str(tmp_path / "mended")})
    with pytest.raises(ValueError, match="part 'z'"):
        prepare(parts, tmp_path / "c", dataset="d", labels=("a",), source_key="k")
    (tmp_path / "mended").touch()
    log.unlink()
    damage(tmp_path / ".c.work" / name)
    store = prepare(parts, tmp_path / "c", dataset="d", labels=("a",), source_key="k")
    assert read_so_far(log) == ["x", "z"] and store.hash == whole(tmp_path).hash


@pytest.mark.parametrize("after", range(7))
def test_interrupted_while_joining_nothing_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    log, calls, moments = tmp_path / "log", [], prepare_module._moments

    def interrupted(*arguments: object) -> np.ndarray:
        calls.append(None)
        if len(calls) > after:
            raise KeyboardInterrupt
        return moments(*arguments)

    parts = make_parts(log)
    monkeypatch.setattr(prepare_module, "_moments", interrupted)
    if after == 6:  # the last moment of all
        monkeypatch.setattr(prepare_module, "replacing_folder", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(parts, tmp_path / "c", dataset="d", labels=("a",), source_key="k")
    assert not (tmp_path / "c").exists()
    blocks = sum(path.stat().st_size for path in (tmp_path / ".c.work").glob("0*.f32"))
    assert (blocks == 0) is (after == 6)  # no part is on the disk twice once it has been joined
    monkeypatch.undo()
    log.unlink()
    store = prepare(parts, tmp_path / "c", dataset="d", labels=("a",), source_key="k")
    assert read_so_far(log) == [] and store.hash == whole(tmp_path).hash
    assert open_store(tmp_path / "c").hash == store.hash


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import make_parts
from otolith.data.prepare import prepare_iter
if __name__ == "__main__":
    log, folder, jobs = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    slow = {"count": 600, "seconds": 0.1}
    parts = make_parts(log, **{"z" if jobs == 1 else "x": slow})
    how = {"dataset": "d", "labels": ("a",), "rate_hz": 50.0, "about": {}, "source_key": "k", "jobs": jobs}
    for record in prepare_iter(parts, folder, **how):
        print(record.name, flush=True)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_and_started_again_it_makes_the_same_store(tmp_path: Path, jobs: int) -> None:
    folder, log = tmp_path / "c", tmp_path / "log"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(log), str(folder), str(jobs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        done = {process.stdout.readline().strip() for _ in range(2)}  # x and y; or y and z, while x is being read
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not folder.exists() and done == ({"x", "y/1"} if jobs == 1 else {"y/1", "z"})
    log.unlink(missing_ok=True)
    store = prepare(make_parts(log), folder, dataset="d", labels=("a",), source_key="k")
    read = [line.split() for line in log.read_text().splitlines()]
    assert {name for name, pid in read if pid == str(os.getpid())} == {"z" if jobs == 1 else "x"}
    assert store.hash == whole(tmp_path).hash
    time.sleep(0.5)  # a reader that was left alone stops at its next recording
    before = log.read_text()
    time.sleep(0.5)
    assert log.read_text() == before and not (tmp_path / ".c.work").exists()


def test_two_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    how = {"dataset": "d", "labels": (), "rate_hz": 50.0, "about": {}, "source_key": "k", "jobs": 1}
    first = prepare_iter(make_parts(tmp_path / "log"), tmp_path / "c", **how)
    next(first)
    with pytest.raises(ValueError, match=r"\.c\.work' is in use by another process; wait until it has ended"):
        prepare([make("a")], tmp_path / "c", dataset="d")
    assert len(list(first)) == 3
    assert prepare([make("a")], tmp_path / "c", dataset="d").entries[0].name == "a"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_caller_who_stops_early_finds_the_finished_parts_next_time(tmp_path: Path, jobs: int) -> None:
    log = tmp_path / "log"
    how = {"dataset": "d", "labels": ("a",), "rate_hz": 50.0, "about": {}, "source_key": "k", "jobs": jobs}
    stream = prepare_iter(make_parts(log, z={"seconds": 0.3}), tmp_path / "c", **how)
    done = next(stream).name
    stream.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "c").exists()
    log.unlink()
    store = prepare(make_parts(log), tmp_path / "c", dataset="d", labels=("a",), source_key="k")
    assert done not in read_so_far(log) and store.hash == whole(tmp_path).hash


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (make("a0"), "two recordings are named 'a0'; expected different names in a corpus"),
        (
            make("b0", channels=GYROSCOPE),
            "recording 'b0' has the channels gyro_x, gyro_y, gyro_z, and those before have acc_",
        ),
    ],
)
def test_parts_that_make_no_corpus_are_refused(tmp_path: Path, second: Recording, message: str) -> None:
    parts = [Part("a", lambda: iter([make("a0")])), Part("b", lambda: iter([second]))]
    with pytest.raises(ValueError, match=message):
        prepare(parts, tmp_path / "c", dataset="d")
    assert not list(tmp_path.iterdir())


def nested(folder: Path) -> Path:
    """Two people in NHANES's layout, in a zip file in a zip file in a folder, as downloads lie."""
    rows = "".join(f"2000-01-07 12:30:{n // 80:02d}.{n % 80 * 12500:06d},0.1,{n % 7},0.9\n" for n in range(160))
    table = gzip.compress(f"time,x,y,z\n{rows}".encode(), mtime=0)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for person in ("p1", "p2"):
            archive.writestr(f"files/{person}.csv.gz", table)
    folder.mkdir()
    with zipfile.ZipFile(folder / "outer.zip", "w") as archive:
        archive.writestr("data/inner.zip", inner.getvalue())
    return folder / "outer.zip"


@pytest.mark.parametrize("change", ["nothing", "times", "channels", "placement"])
def test_official_files_in_a_zip_in_a_zip_are_taken_over_until_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    outer, data = nested(tmp_path / "source"), tmp_path / "data"
    card = dataclasses.replace(DATASETS["nhanes"], placements=("wrist", "hand"))
    monkeypatch.setitem(DATASETS, "nhanes", card)
    stream = prepare_dataset("nhanes", outer.parent, data)
    assert next(stream).name == "p1"
    stream.close()  # type: ignore[attr-defined]
    assert [path.name for path in data.iterdir()] == [".nhanes.work"]  # nothing of what lay in the zip file
    how: dict = {"channels": {"channels": ["acc_z", "acc_x"]}, "placement": {"placement": "hand"}}.get(change, {})
    if change == "times":
        os.utime(outer, (0, 0))
    records = list(prepare_dataset("nhanes", outer.parent, data, **how))
    assert [(record.done, record.of, record.name) for record in records] == [(1, 2, "p1"), (2, 2, "p2")]
    assert [record.seconds == 0 for record in records] == [change == "nothing", False]
    store = open_store(data / "nhanes")
    assert store.subjects == ("p1", "p2") and store.about["subset"] == "all"
    assert store.channels == (("acc_z", "acc_x") if change == "channels" else ACCELEROMETER)
    assert [entry.steps for entry in store.entries] == [100, 100]
    assert [path.name for path in data.iterdir()] == ["nhanes"]
