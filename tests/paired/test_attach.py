"""Windows with the embeddings of their recording and time."""

import dataclasses

import numpy as np
import pytest
import torch

from otolith.data.cutting import cut
from otolith.data.joining import join
from otolith.data.prepare import prepare
from otolith.data.recording import ACCELEROMETER, GYROSCOPE
from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.datasets import synthetic
from otolith.paired import PairedEmbeddings
from otolith.paired.attach import attach

CHANNELS = ACCELEROMETER + GYROSCOPE


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """Another corpus, in which two subjects have the names of two in the first."""
    made = synthetic.made(subjects=2, seconds=9.0, seed=1)
    return cut(prepare(made, tmp_path_factory.mktemp("data") / "other", dataset="other"), overlap=0.0)


def vectors(store: Store, dim: int = 4, seed: int = 0, name: str = "text") -> PairedEmbeddings:
    """For every second recording one narration of two seconds per second, or one embedding per tenth of a second."""
    random = np.random.default_rng(seed)
    multimodal = range(0, len(store.entries), 2)
    step = 1.0 if name == "text" else 0.1
    times = [np.arange(0, store.entries[k].steps / store.rate_hz, step) for k in multimodal]
    recording = np.repeat(list(multimodal), [len(t) for t in times])
    start = np.concatenate(times)
    values = random.normal(size=(len(start), dim)).astype(np.float32)
    stop = start + (2 if name == "text" else 0)
    return PairedEmbeddings(
        name, recording, start, stop, values, "cover" if name == "text" else "mean", store.hash, {"dim": dim}
    )


def test_windows_are_given_the_vectors_of_their_recording_and_time(store: Store, windows: Windows) -> None:
    given = {"text": vectors(store), "video": vectors(store, 7, name="video")}
    paired = attach(windows, store, given)
    assert {name: tuple(table.shape) for name, table in paired.paired.items()} == {"text": (342, 4), "video": (342, 7)}
    for name, own in given.items():
        there = torch.from_numpy(windows.recording % 2 == 0)
        assert torch.equal(paired.present[name], there)
        assert torch.equal(paired.paired[name][~there], torch.zeros(int((~there).sum()), own.dim))
        assert torch.allclose(paired.paired[name][there].norm(dim=1), torch.ones(int(there.sum())))
    row = int(np.flatnonzero((windows.recording == 2) & (windows.start_s == 3))[0])
    inside = (given["video"].recording == 2) & (given["video"].start_s > 2.95) & (given["video"].start_s < 4.95)
    mean = given["video"].embeddings[inside].mean(axis=0)
    np.testing.assert_allclose(paired.paired["video"][row], mean / np.linalg.norm(mean), atol=1e-6)
    said = given["text"].embeddings[(given["text"].recording == 2) & (given["text"].start_s == 3)][0]
    np.testing.assert_allclose(paired.paired["text"][row], said / np.linalg.norm(said), atol=1e-6)
    assert not windows.paired and torch.equal(paired.array(), windows.array())
    some = paired[::7]
    assert (
        torch.equal(some.paired["text"], paired.paired["text"][::7]) and some.unlabelled().paired.keys() == given.keys()
    )


def test_a_fraction_of_recordings_keeps_its_pairs_whole(store: Store) -> None:
    windows = cut(store)
    every = {"text": vectors(store), "video": vectors(store, 7, name="video")}
    kept: set[int] = set()
    for fraction in (0.0, 0.2, 0.5, 0.8, 1.0):
        paired = attach(windows, store, every, fraction=fraction, seed=3)
        assert torch.equal(paired.present["text"], paired.present["video"])
        there = set(windows.recording[paired.present["text"].numpy()].tolist())
        for recording in there:  # all windows of it
            assert paired.present["text"].numpy()[windows.recording == recording].all()
        assert kept <= there
        kept = there
        assert not paired.paired["text"][~paired.present["text"]].any()
    assert kept == set(range(0, 18, 2))
    shares = []
    for seed in range(40):
        there = attach(windows, store, every, fraction=0.3, seed=seed).present["text"].numpy()
        shares.append(len(set(windows.recording[there].tolist())))
    assert abs(np.mean(shares) / 9 - 0.3) < 0.1 and len(set(shares)) > 3
    one, other = (attach(windows, store, every, fraction=0.5, seed=seed) for seed in (0, 0))
    assert torch.equal(one.present["text"], other.present["text"]) and one.content_hash == other.content_hash


def test_content_and_identity_know_the_pairs(store: Store, windows: Windows) -> None:
    text, other = vectors(store), vectors(store, seed=1)
    made = [
        windows,
        attach(windows, store, {"text": text}),
        attach(windows, store, {"text": other}),
        attach(windows, store, {"words": text}),
        attach(windows, store, {"text": dataclasses.replace(text, reduce="mean")}),
        attach(windows, store, {"text": text, "words": text}),
        attach(windows, store, {"text": text}, fraction=0.5),
        attach(windows, store, {"text": text}, fraction=0.5, seed=1),
        attach(windows, store, {"text": text})[:100],
    ]
    assert len({w.content_hash for w in made}) == len(made)
    assert attach(windows, store, {"text": text}).cut_hash == attach(windows, store, {"text": vectors(store)}).cut_hash


def test_pairs_of_something_else_are_refused(store: Store, windows: Windows, three: Store, other: Windows) -> None:
    given = {"text": vectors(store)}
    with pytest.raises(ValueError, match="the windows are of 'synthetic' and the store is of 'three'"):
        attach(windows, three, given)
    with pytest.raises(
        ValueError,
        match=r"the windows are of 'synthetic\+other' and the store is of 'synthetic'; attach embeddings before",
    ):
        attach(join([windows, other]), store, given)
    with pytest.raises(
        ValueError,
        match="the embeddings 'text' were computed for another preparation of 'synthetic'; run again: otolith",
    ):
        attach(windows, store, {"text": dataclasses.replace(given["text"], store="else")})
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"fraction is {fraction}; expected 0 to 1"):
            attach(windows, store, given, fraction=fraction)


def test_joined_corpora_keep_their_pairs_and_lack_what_they_lack(
    store: Store, windows: Windows, other: Windows
) -> None:
    paired = attach(windows, store, {"text": vectors(store), "video": vectors(store, 7, name="video")})
    own = dataclasses.replace(
        other,
        paired={"text": torch.ones(len(other), 4), "pose": torch.ones(len(other), 2)},
        present={"text": torch.ones(len(other)) > 0, "pose": torch.arange(len(other)) > 3},
    )
    both = join([paired, own])
    assert list(both.paired) == ["text", "video", "pose"] and list(both.present) == ["text", "video", "pose"]
    first, second = slice(0, len(windows)), slice(len(windows), None)
    assert torch.equal(both.paired["text"], torch.cat([paired.paired["text"], own.paired["text"]]))
    assert torch.equal(both.paired["video"][first], paired.paired["video"])
    assert both.paired["video"].dtype == torch.float32 and not both.paired["video"][second].any()
    assert not both.present["video"][second].any() and both.present["video"].dtype == torch.bool
    assert not both.present["pose"][first].any() and torch.equal(both.present["pose"][second], own.present["pose"])
    assert torch.equal(join([other, paired]).present["text"][len(other) :], paired.present["text"])
    assert torch.equal(join([paired]).paired["text"], paired.paired["text"])
    assert both.content_hash != join([windows, other]).content_hash
    wide = dataclasses.replace(
        own, paired={"text": torch.ones(len(other), 5)}, present={"text": torch.ones(len(other)) > 0}
    )
    with pytest.raises(
        ValueError,
        match="the embeddings 'text' have different dimensions: 4 in 'synthetic', 5 in 'other'; compute them",
    ):
        join([paired, wide])
