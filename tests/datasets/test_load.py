"""A corpus by its name: prepared once, then opened."""

import json
from pathlib import Path

import pytest

from otolith.datasets.load import load_dataset


def test_a_corpus_is_prepared_once_and_then_opened(tmp_path: Path) -> None:
    made = load_dataset("synthetic", tmp_path / "data")
    manifest = tmp_path / "data" / "synthetic" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    again = load_dataset("synthetic", data=str(tmp_path / "data"))
    assert again.hash == made.hash and manifest.stat().st_mtime_ns == before
    assert load_dataset(tmp_path / "data" / "synthetic").hash == made.hash
    assert len(made.windows(seconds=2, channels="acc")) == len(again.windows(seconds=2, channels="acc")) > 0


def test_other_settings_than_the_stores_are_refused(tmp_path: Path) -> None:
    load_dataset("synthetic", tmp_path, rate_hz=25.0)
    assert load_dataset("synthetic", tmp_path, rate_hz=25.0).rate_hz == 25
    with pytest.raises(
        ValueError, match=r"was prepared with rate_hz 25.0, not 50.0; leave rate_hz out, or name another"
    ):
        load_dataset("synthetic", tmp_path, rate_hz=50.0)
    with pytest.raises(ValueError, match="was prepared with channels"):
        load_dataset("synthetic", tmp_path, channels=["acc_x"])


def test_an_unknown_corpus_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no prepared corpus at '.*nowhere'.*known: aria, capture24"):
        load_dataset("nowhere", tmp_path)
    with pytest.raises((FileNotFoundError, ValueError), match=r"MotionSense|pass --source"):
        load_dataset("motionsense", tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_damaged_store_is_not_prepared_over(tmp_path: Path) -> None:
    load_dataset("synthetic", tmp_path)
    manifest = tmp_path / "synthetic" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "rate_hz": 1}))
    with pytest.raises(ValueError, match="damaged or altered"):
        load_dataset("synthetic", tmp_path)
