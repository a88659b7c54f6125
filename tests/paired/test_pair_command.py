"""The command that precomputes embeddings of a prepared corpus."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from counting import recordings

from otolith import paired
from otolith.cli.main import app
from otolith.data.multimodal import MultimodalData, Narration, SensorStream
from otolith.data.prepare import prepare
from otolith.data.recording import ACCELEROMETER
from otolith.datasets import DATASETS
from otolith.datasets.card import Dataset


def multimodal_data(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    assert (placement, subset) == ("wrist", "some")
    pose = SensorStream(np.arange(2.0), np.zeros((2, 3), np.float32))
    yield MultimodalData("b", (Narration(0.0, 2.0, "walks"),), None, {"pose": pose})


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict.fromkeys(("title", "licence", "origin", "cite", "expects"), "x")
    made = Dataset(
        name="three",
        subjects=3,
        classes=(),
        rate_hz=50.0,
        channels=ACCELEROMETER,
        placements=("wrist",),
        subsets=("all", "some"),
        parts=lambda *_: [],
        multimodal_data=multimodal_data,
        **known,
    )
    monkeypatch.setitem(DATASETS, "three", made)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        app(["pair", *map(str, words)])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), " ".join((printed.out + printed.err).split())


def test_a_prepared_corpus_is_embedded(card: None, tmp_path: Path, bert: Path, capsys) -> None:
    prepare(recordings(), tmp_path / "three", dataset="three", about={"subset": "some"})
    status, text = run(capsys, "three", "--data", tmp_path, "--text", bert, "--image", "none")
    assert status == 0
    assert f"text.safetensors: 1 embeddings of 16 dimensions by {bert} for 1 of 3 recordings" in text
    assert "pose.safetensors: 2 embeddings of 3 dimensions for 1 of 3 recordings" in text
    assert paired.modalities(tmp_path / ".paired" / "three") == ["pose", "text"]


def test_the_message_names_what_is_missing(card: None, tmp_path: Path, capsys) -> None:
    for name, message in (("three", "no prepared corpus at"), ("four", "'four'")):
        status, text = run(capsys, name, "--data", tmp_path, "--text", "none", "--image", "none")
        assert status != 0 and message in text
    plain = DATASETS["synthetic"]
    prepare(plain.read(None), tmp_path / "synthetic", dataset="synthetic")
    with pytest.raises(ValueError, match="the corpus 'synthetic' has no text, video or other sensors to embed"):
        list(paired.precompute(plain, None, tmp_path, text=None, image=None))
