"""Paired vectors: encoders that are what they claim to be, work that is done once, and the vector of any window."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import Counting, run
from safetensors.numpy import load_file, save_file

from forging import save_forged
from otolith.data.store import Store
from otolith.paired import PairedEmbeddings, load


def slow(vectors: PairedEmbeddings, recording: int, begin: float, seconds: float) -> np.ndarray:
    """The vector of one window, row after row; zeros if there is none."""
    micro = [round(t * 1e6) for t in (begin, begin + seconds)]
    total, best = np.zeros(vectors.dim), None
    for k in range(len(vectors)):
        if vectors.recording[k] != recording:
            continue
        start, stop = round(float(vectors.start_s[k]) * 1e6), round(float(vectors.stop_s[k]) * 1e6)
        if vectors.reduce == "mean":
            if micro[0] <= start < micro[1]:
                total += vectors.embeddings[k]
        else:
            overlap = min(max(stop, start + 1), micro[1]) - max(start, micro[0])
            rank = (-overlap, abs(start + max(stop, start + 1) - micro[0] - micro[1]), k)
            if overlap > 0 and (best is None or rank < best):
                best, total = rank, vectors.embeddings[k].astype(float)
    return total / max(np.linalg.norm(total), 1e-12)


@pytest.mark.parametrize("reduce", ["mean", "cover"])
@pytest.mark.parametrize("seed", range(4))
def test_the_vectors_of_windows_are_those_of_a_slow_loop(
    reduce: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otolith.paired.embeddings._BLOCK", 7)
    random = np.random.default_rng(seed)
    recording = np.sort(random.choice([0, 1, 3, 4], 80))
    start = random.integers(-20, 120, 80) / 10
    order = np.lexsort((start, recording))
    length = np.where(random.random(80) < 0.2, 0, random.integers(0, 60, 80) / 10) * (reduce == "cover")
    vectors = random.normal(size=(80, 5)).astype(np.float32)
    made = PairedEmbeddings("m", recording, start[order], start[order] + length, vectors, reduce, "s", {})
    where, begin = random.integers(0, 6, 120), random.integers(0, 100, 120) / 10
    values, present = made.for_windows(where, begin, 2.0)
    assert values.dtype == np.float32 and present.dtype == bool
    expected = np.stack([slow(made, r, b, 2.0) for r, b in zip(where, begin, strict=True)])
    np.testing.assert_allclose(values, expected, atol=1e-6)
    np.testing.assert_array_equal(present, expected.any(axis=1))
    assert 10 < present.sum() < 110 and not present[(where == 2) | (where == 5)].any()


def test_a_window_holds_its_start_and_not_its_end_however_times_were_rounded() -> None:
    times = np.arange(100) / 10
    made = PairedEmbeddings("m", np.zeros(100, int), times, times, np.eye(100, dtype=np.float32), "mean", "s", {})
    for begin in range(80):
        values, _ = made.for_windows(np.array([0]), np.array([begin * 0.1]), 0.1 * 20)
        np.testing.assert_array_equal(np.flatnonzero(values[0]), np.arange(begin, begin + 20))


def test_means_are_of_vectors_that_were_not_normalised() -> None:
    vectors = np.array([[3, 0], [0, 1]], np.float32)
    made = PairedEmbeddings("m", np.zeros(2, int), np.array([0.0, 1.0]), np.array([0.0, 1.0]), vectors, "mean", "s", {})
    values, present = made.for_windows(np.array([0, 0]), np.array([0.0, 5.0]), 2.0)
    np.testing.assert_allclose(values, [[3 / 10**0.5, 1 / 10**0.5], [0, 0]], rtol=1e-6)
    assert present.tolist() == [True, False]


def alter(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-5])
        return
    if how == "no safetensors":
        path.write_bytes(b"\xff" * 100)
        return
    tensors = load_file(path)
    header: Any = {"format": 1, "modality": "text", "reduce": "cover", "about": {}}
    header["store"] = path.parent.name  # replaced by the test
    if how == "no header":
        save_file(tensors, path)
        return
    changes: dict[str, Any] = {
        "another format": {"format": 9},
        "another modality": {"modality": "video"},
        "another rule": {"reduce": "max"},
        "no store": {"store": None},
    }
    header |= changes.get(how, {})
    if how == "not finite":
        tensors["vectors"] = tensors["vectors"] + np.float32(np.inf)
    elif how == "no times":
        del tensors["stop_s"]
    elif how == "fewer times":
        tensors["start_s"] = tensors["start_s"][1:]
    elif how == "no order":
        tensors["start_s"] = tensors["start_s"][::-1].copy()
    elif how == "strange recordings":
        tensors["recording"] = tensors["recording"] + 7
    elif how == "doubles":
        tensors["vectors"] = tensors["vectors"].astype(np.float64)
    elif how == "deep":
        save_forged(tensors, path, "[" * 100_000)
        return
    save_forged(tensors, path, json.dumps(header))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "is not a complete safetensors file"),
        ("no safetensors", "is not a complete safetensors file"),
        ("no header", "holds tensors but no Otolith header"),
        ("another format", "its format is 9, and this version reads format 1"),
        ("another modality", "its header says 'video', 'cover'"),
        ("another rule", "its header says 'text', 'max'"),
        ("no store", "was computed for another preparation"),
        ("not finite", "embeddings that are not finite"),
        ("no times", "cannot be used: it lacks 'stop_s'"),
        ("fewer times", "it has not one time per embedding"),
        ("no order", "its embeddings are not in order of time"),
        ("strange recordings", "it names recordings that the store does not have"),
        ("doubles", r"float64 \(3, 3\); expected float32"),
        ("deep", "cannot be used"),
    ],
)
def test_an_altered_file_is_refused(three: Store, tmp_path: Path, how: str, message: str) -> None:
    folder = tmp_path / three.hash
    run(Counting(), three, folder)
    alter(folder / "text.safetensors", how)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder, "text", three)
    assert "text.safetensors" in str(caught.value) and "otolith pair three --source DIR" in str(caught.value)


def test_vectors_that_were_never_made_are_asked_for(three: Store, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no embeddings 'text' of 'three' .* \(found nothing\); run: otolith pair three"
    ):
        load(tmp_path, "text", three)
    run(Counting(), three, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no embeddings 'sound' .* \(found pose, text, video\)"):
        load(tmp_path, "sound", three)
