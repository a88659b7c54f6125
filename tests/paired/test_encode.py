"""Paired vectors: encoders that are what they claim to be, work that is done once, and the vector of any window."""

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from counting import Counting, recordings, run
from safetensors.numpy import load_file, save_file

from otolith import paired
from otolith.data.multimodal import MultimodalData, Narration, SensorStream, VideoStream
from otolith.data.prepare import prepare
from otolith.data.store import Store
from otolith.datasets import DATASETS
from otolith.paired import ImageEncoder, TextEncoder, embed, load
from otolith.storage.locks import LOCK


def test_each_modality_is_a_file_that_says_how_it_was_made(three: Store, tmp_path: Path) -> None:
    by = Counting()
    steps = run(by, three, tmp_path)
    assert paired.modalities(tmp_path) == ["pose", "text", "video"]
    assert by.texts == ["walks", "sits"]  # each once, cleaned
    text, video, pose = (load(tmp_path, name, three) for name in ("text", "video", "pose"))
    assert text.about == {"dim": 3, "encoder": "words", "sha256": "w"} and text.reduce == "cover"
    assert text.recording.tolist() == [0, 0, 2]
    assert (text.start_s.tolist(), text.stop_s.tolist()) == ([0, 1, 2], [2, 4, 60])
    np.testing.assert_allclose(np.linalg.norm(text.embeddings, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(text.embeddings[0], text.embeddings[2])
    assert video.about == {"dim": 2, "encoder": "looks", "sha256": "w", "fps": 10.0} and video.reduce == "mean"
    assert by.pictures == len(video) == 20 + 695  # 2 s of b; of c, what is left of its 70 s after 0.5
    np.testing.assert_allclose(video.start_s[:20], np.arange(20) / 10)
    np.testing.assert_allclose(video.start_s[20:], np.arange(5, 700) / 10)
    np.testing.assert_array_equal(video.embeddings[:, 0], np.rint(video.start_s * 2) % 256)  # not normalised
    assert [len(times) for times in by.asked] == [595, 100, 20]  # a minute at a time
    np.testing.assert_array_equal(pose.embeddings, np.arange(16).reshape(8, 2))
    assert pose.about == {"dim": 2} and pose.reduce == "mean"
    assert [f"{s.done}/{s.of} {s.recording}" for s in steps] == ["0/3 c", "0/3 c", "1/3 c", "2/3 a", "2/3 b", "3/3 b"]
    assert steps[-1].made == 2 + 715 and steps[-1].kept == 0
    assert not list(tmp_path.rglob("*.part"))


def test_only_pictures_near_narrations_are_looked_at(three: Store, tmp_path: Path) -> None:
    by = Counting()
    run(by, three, tmp_path, fps=5.0, near_s=1.0)
    times = np.array([time for part in by.asked for time in part])
    np.testing.assert_allclose(times, np.arange(5, 306) / 5)
    assert load(tmp_path, "video", three).about == {
        "dim": 2,
        "encoder": "looks",
        "sha256": "w",
        "fps": 5.0,
        "near_s": 1.0,
    }
    for name, value in (("fps", 0.0), ("fps", float("nan")), ("near_s", -1.0)):
        with pytest.raises(ValueError, match=f"{name} is {value}; expected"):
            run(by, three, tmp_path, **{name: value})


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_run_that_was_stopped_goes_on_and_comes_to_the_same(three: Store, tmp_path: Path, after: int) -> None:
    run(Counting(), three, tmp_path / "whole")
    first = Counting()
    steps = embed(first.multimodal_data(), three, tmp_path / "part", text=first.text, image=first.image)
    for _ in range(after):
        next(steps)
    steps.close()
    assert paired.modalities(tmp_path / "part") == []
    second = Counting()
    last = run(second, three, tmp_path / "part")[-1]
    assert first.pictures + second.pictures == 715 and sorted(first.texts + second.texts) == ["sits", "walks"]
    assert last.kept == first.pictures + len(first.texts) > 0
    for name in ("pose", "text", "video"):
        assert (tmp_path / "part" / f"{name}.safetensors").read_bytes() == (
            tmp_path / "whole" / f"{name}.safetensors"
        ).read_bytes()


KILLED = """
import os, sys
from pathlib import Path
import torch
from otolith.paired import TextEncoder, embed
from otolith.data.multimodal import MultimodalData, Narration
from otolith.data.store import open_store

def encode(texts):
    if "sits" in texts:
        os.kill(os.getpid(), 9)
    return torch.ones(len(texts), 3)

store, folder = open_store(Path(sys.argv[1])), Path(sys.argv[2])
multimodal = [MultimodalData(name, (Narration(0.0, 1.0, words),)) for name, words in (("a", "walks"), ("b", "sits"))]
for _ in embed(multimodal, store, folder, text=TextEncoder("words", "w", 3, encode), image=None):
    pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_a_killed_process_leaves_what_it_had_finished_and_its_successor_sweeps(three: Store, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(three.folder), str(tmp_path)], check=False)
    assert ended.returncode == -9 and paired.modalities(tmp_path) == []
    half = [tmp_path / ".text.safetensors.x1.part", tmp_path / ".cache" / "ab" / ".abc.safetensors.x2.part"]
    for path in half:
        path.mkdir(parents=True)
        (path / LOCK).touch()  # locked by a process that ended
        (path / ".tmpAbCdEf").write_bytes(b"half")
    by = Counting()
    multimodal = [
        MultimodalData(name, (Narration(0.0, 1.0, words),)) for name, words in (("a", "walks"), ("b", "sits"))
    ]
    last = list(embed(multimodal, three, tmp_path, text=by.text, image=None))[-1]
    assert by.texts == ["sits"] and (last.made, last.kept) == (1, 1)
    np.testing.assert_allclose(load(tmp_path, "text", three).embeddings[0], 3**-0.5)  # the first process's
    assert not any(path.exists() for path in half)


def test_a_corpuss_vectors_are_never_all_in_memory(three: Store, tmp_path: Path) -> None:
    rows, dim = 20_000, 100

    def long() -> Iterator[MultimodalData]:
        for number, name in enumerate("cab"):  # not in the store's order
            vectors = np.arange(number, number + rows * dim, dtype=np.float32).reshape(rows, dim)
            yield MultimodalData(name, sensor_streams={"pose": SensorStream(np.linspace(0, 3, rows), vectors)})

    tracemalloc.start()
    list(embed(long(), three, tmp_path, text=None, image=None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * 4 * rows * dim  # that which is written, the next one, and not all three
    found = load(tmp_path, "pose", three)
    assert found.recording.tolist() == [0] * rows + [1] * rows + [2] * rows
    for place, number in enumerate((1, 2, 0)):
        assert found.embeddings[place * rows : (place + 1) * rows, 0].tolist() == list(
            range(number, number + rows * dim, dim)
        )
    assert [path.name for path in tmp_path.rglob("*.*") if path.is_file() and path.name != LOCK] == ["pose.safetensors"]


def test_what_is_kept_is_known_by_content(three: Store, tmp_path: Path) -> None:
    run(Counting(), three, tmp_path)
    again = Counting()
    run(again, three, tmp_path)
    assert not again.texts and not again.asked
    other = prepare(
        recordings(2.0), tmp_path / "other", dataset="three"
    )  # another preparation: the same words and pictures
    with pytest.raises(
        ValueError,
        match=r"'.*text\.safetensors' was computed for another preparation of 'three'; run again: otolith pair",
    ):
        load(tmp_path, "text", other)
    run(again, other, tmp_path)
    assert not again.texts and not again.asked and len(load(tmp_path, "text", other)) == 3
    weights = Counting("v")  # other weights
    run(weights, three, tmp_path)
    assert weights.texts == ["walks", "sits"] and weights.pictures == 715
    faster = Counting()  # other times
    run(faster, three, tmp_path, fps=20.0)
    assert not faster.texts and faster.pictures == 1430


def test_pictures_are_known_by_their_own_time_and_not_by_the_recordings(three: Store, tmp_path: Path) -> None:
    by = Counting()
    for offset in (0.0, 1.0, 0.0):
        film = MultimodalData("b", (), VideoStream("film", offset, 10.0, by.frames))
        list(embed([film], three, tmp_path, text=None, image=by.image))
    assert [len(times) for times in by.asked] == [30, 20]  # the same file, found to begin a second later


@pytest.mark.parametrize("how", ["cut", "empty", "other shape", "not finite"])
def test_damaged_remains_are_made_again(three: Store, tmp_path: Path, how: str) -> None:
    run(Counting(), three, tmp_path)
    expected = load(tmp_path, "video", three).embeddings
    for path in (tmp_path / ".cache").rglob("*.safetensors"):
        vectors = load_file(path)["vectors"]
        if how in ("cut", "empty"):
            path.write_bytes(path.read_bytes()[: 0 if how == "empty" else -9])
        else:
            save_file({"vectors": vectors[1:] if how == "other shape" else vectors * np.float32(np.nan)}, path)
    by = Counting()
    run(by, three, tmp_path)
    assert by.pictures == 715 and by.texts == ["walks", "sits"]
    np.testing.assert_array_equal(load(tmp_path, "video", three).embeddings, expected)


def broken(times_s: Sequence[float]) -> Iterator[np.ndarray]:
    yield np.zeros((2, 2, 3), np.uint8)
    raise ValueError("'film.mp4' cannot be decoded up to 3.00 s: Invalid data; copy it again")


def short(times_s: Sequence[float]) -> Iterator[np.ndarray]:
    yield np.zeros((2, 2, 3), np.uint8)


WIDE = np.zeros((2, 3), np.float32)


narrated = partial(MultimodalData, "b")
filmed = partial(MultimodalData, "b", ())


def streams(streams: dict[str, SensorStream]) -> MultimodalData:
    return MultimodalData("b", sensor_streams=streams)


@pytest.mark.parametrize(
    ("companion", "message"),
    [
        (narrated((Narration(9.0, 10.0, "late"),)), r"'late' at 9\.00 to 10\.00 s is outside recording 'b' of 3"),
        (narrated((Narration(-3.0, -1.0, "early"),)), "is outside recording 'b'"),
        (narrated((Narration(2.0, 1.0, "x"),)), r"'x' of 'b' is from 2\.0 to 1\.0 s; expected a start before the end"),
        (narrated((Narration(float("nan"), 1.0, "x"),)), "is from nan to"),
        (filmed(VideoStream("f", 5.0, 9.0, broken)), r"the video of 'b' lasts from 5\.00 to 9\.00 s, outside the 3\.00 s"),
        (filmed(VideoStream("f", -5.0, -1.0, broken)), "outside the"),
        (filmed(VideoStream("f", 0.0, 9.0, broken)), r"the video of 'b': 'film\.mp4' cannot be decoded"),
        (filmed(VideoStream("f", 0.0, 9.0, short)), "the video of 'b' gave 1 frames; expected 30"),
        (streams({"text": SensorStream(np.arange(2), WIDE)}), "sensor stream 'text' of 'b': the name is reserved"),
        (streams({"../x": SensorStream(np.arange(2), WIDE)}), r"sensor stream '\.\./x' of 'b': the name is reserved"),
        (streams({"emg": SensorStream(np.arange(3), WIDE)}), r"\(3,\) times and float32 \(2, 3\) values"),
        (streams({"emg": SensorStream(np.arange(2), WIDE.astype(float))}), r"float64 \(2, 3\) values; expected f"),
        (streams({"emg": SensorStream(np.array([1.0, 0.0]), WIDE)}), "times do not ascend, or a value"),
        (streams({"emg": SensorStream(np.arange(2), WIDE + np.nan)}), "a value is not finite"),
        (streams({"pose": SensorStream(np.arange(2), WIDE)}), "'pose' has 2 dimensions in 'a' and 3 in 'b'"),
        (MultimodalData("a"), "the recording 'a' has multimodal data twice"),
    ],
)  # fmt: skip
def test_companions_that_do_not_go_with_their_recording_are_refused(
    three: Store, tmp_path: Path, companion: MultimodalData, message: str
) -> None:
    by = Counting()
    multimodal = [next(c for c in by.multimodal_data() if c.recording == "a"), companion]
    with pytest.raises(ValueError, match=message):
        list(embed(multimodal, three, tmp_path, text=by.text, image=by.image))
    assert paired.modalities(tmp_path) == []  # nothing is half-written


def test_companions_of_others_are_left_out_unless_there_are_no_more(three: Store, tmp_path: Path) -> None:
    by = Counting()
    others = [MultimodalData("z", (Narration(0, 1, "walks"),)), MultimodalData("b", (Narration(0, 1, "sits"),))]
    assert list(embed(others, three, tmp_path, text=by.text, image=None))[-1].done == 1
    assert by.texts == ["sits"]
    for multimodal in (others[:1], [], [MultimodalData("b", (Narration(0, 1, "!"),))]):
        with pytest.raises(
            ValueError, match="no text, video or other sensors were found for the 3 recordings"
        ) as caught:
            list(embed(multimodal, three, tmp_path / "none", text=by.text, image=None))
        assert ("for others such as 'z'" in str(caught.value)) == (multimodal == others[:1])


def test_two_processes_do_not_compute_the_same(three: Store, tmp_path: Path) -> None:
    by = Counting()
    first = embed(by.multimodal_data(), three, tmp_path, text=by.text, image=by.image)
    next(first)
    with pytest.raises(ValueError, match="is in use by another process"):
        run(by, three, tmp_path)
    first.close()
    run(by, three, tmp_path)


def test_real_depth_pictures_and_words_become_vectors(
    shared_data: Path, tmp_path: Path, minilm: TextEncoder, lite: ImageEncoder
) -> None:
    card = DATASETS["utd-mhad"]
    source = shared_data / "utd-mhad"
    wanted = {"a4_s1_t1", "a4_s1_t2", "a22_s1_t1"}
    some = [recording for recording in next(iter(card.listed(source))).read() if recording.name in wanted]
    store = prepare(some, tmp_path / "utd-mhad", dataset="utd-mhad")
    assert card.multimodal_data is not None
    here = (companion for companion in card.multimodal_data(source, "both", "all") if companion.recording in wanted)
    list(embed(here, store, tmp_path / "paired", text=minilm, image=lite, fps=2.0))
    text, video, skeleton = (load(tmp_path / "paired", name, store) for name in ("text", "video", "skeleton"))
    assert len(text) == 3 and (text.dim, video.dim, skeleton.dim) == (384, 1280, 60)
    assert set(video.recording.tolist()) == {k for k, entry in enumerate(store.entries) if entry.name != "a4_s1_t2"}
    assert set(skeleton.recording.tolist()) == {0, 1, 2}
    names = [entry.name for entry in store.entries]
    clap, walk = names.index("a4_s1_t1"), names.index("a22_s1_t1")
    expected = minilm(["a person claps", "a person jogs"])
    np.testing.assert_allclose(text.for_windows(np.array([clap, walk]), np.zeros(2), 2.0)[0], expected, atol=1e-6)
