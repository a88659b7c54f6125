"""The store: what goes in comes out, whole or not at all, and an altered one is refused."""

import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from otolith.files import fingerprint
from otolith.recording import ACCELEROMETER, GYROSCOPE, Recording, Span, resample
from otolith.store import MANIFEST, SIGNAL, Store, open_store, prepare


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
    assert set(files(folder)) == {MANIFEST, SIGNAL} and [p.name for p in folder.parent.iterdir()] == ["corpus"]


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
        ([make("a"), make("b"), make("a", 9)], "two recordings are named 'a'; names are unique in a corpus"),
        (
            [make("a"), make("b", channels=ACCELEROMETER + GYROSCOPE)],
            "recording 'b' has channels acc_x, acc_y, acc_z, gyro_x, .*; the store so far has acc_x, acc_y, acc_z; ",
        ),
        ([make("a"), make("b", channels=ACCELEROMETER[::-1])], "recording 'b' has channels acc_z, acc_y, acc_x; "),
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
        (lambda f: rewrite(f, lambda m: m.update(format=2), rehash=True), "not of store format 1; prepare it again"),
        (
            lambda f: rewrite(f, lambda m: m.pop("values"), rehash=True),
            "damaged or altered: 'values'; prepare it again",
        ),
        (lambda f: (f / MANIFEST).write_text("{"), r"manifest\.json' is damaged or altered: .*; prepare it again"),
        (
            lambda f: (f / MANIFEST).write_text("[1]"),
            "damaged or altered: it is not of store format 1; prepare it again",
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


def test_one_altered_bit_of_signal_is_refused(tmp_path: Path) -> None:
    prepare(RECORDINGS, tmp_path / "c", dataset="d")
    flip(tmp_path / "c" / SIGNAL)
    with pytest.raises(ValueError, match=r"signal\.f32' was altered: its SHA-256 does not match .*; prepare it again"):
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
    paths = [folder, folder / MANIFEST, folder / SIGNAL]
    before = files(folder), [path.stat().st_mtime_ns for path in paths]
    store = open_store(folder)
    assert (files(folder), [path.stat().st_mtime_ns for path in paths]) == before
    store.values[:] = 7.0
    store.values.flush()
    del store
    assert (files(folder), [path.stat().st_mtime_ns for path in paths]) == before
    open_store(folder)


def test_preparing_holds_few_recordings_in_memory_however_many_there_are(tmp_path: Path) -> None:
    count, steps = 40, 25_000
    size = steps * 3 * 4  # bytes of one recording

    def many() -> Iterator[Recording]:
        for number in range(count):
            yield Recording(str(number), np.full((steps, 3), number, np.float32), 50.0, ACCELEROMETER, "s", "wrist")

    tracemalloc.start()
    try:
        store: Store = prepare(many(), tmp_path / "c", dataset="d")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert store.values.nbytes == count * size
    assert peak < 6 * size  # one, its bytes to write, and the next one being made
    np.testing.assert_array_equal(store.values[:: 3 * steps], np.arange(count))
