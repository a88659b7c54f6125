"""Where the records of pretraining go: CSV, TensorBoard, and anything with `log(dict)`."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.experiments.recipe import load
from otolith.experiments.run import Run
from otolith.objectives import SimCLR
from otolith.pretraining import CSVLogger, Runtime, TensorBoardLogger, pretrain

SMALL: dict[str, Any] = {"epochs": 2, "batch_size": 24, "runtime": Runtime(accelerator="cpu", report_every=1)}


class Kept:
    """A logger as others write them."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def log(self, metrics: dict[str, Any]) -> None:
        self.told.append(metrics)


def objective() -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(Strided(6), augmentations=[{"name": "rotation"}])


def test_any_logger_gets_every_record_and_changes_nothing(windows: Windows) -> None:
    logger, with_it, without = Kept(), objective(), objective()
    train, held = windows.for_subjects(["1", "2"]), windows.for_subjects(["3"])
    steps = list(pretrain(with_it, train, held, logger=logger, **SMALL))
    assert logger.told == [step.metrics() for step in steps] and len(steps) > 2
    assert set(logger.told[0]) == {
        "step", "epoch", "loss", "loss/simclr", "validation", "lr", "windows_per_s", "seconds"
    }  # fmt: skip
    assert logger.told[-1]["validation"] > 0 and logger.told[0]["validation"] is None
    list(pretrain(without, train, held, **SMALL))
    assert all(
        torch.equal(a, b) for a, b in zip(with_it.state_dict().values(), without.state_dict().values(), strict=True)
    )


def test_a_table_has_a_line_for_each_step_also_after_an_interruption(windows: Windows, tmp_path: Path) -> None:
    train = windows.for_subjects(["1", "2"])
    runtime = Runtime(accelerator="cpu", report_every=1, resume=tmp_path / "state", save_every_s=0.0)
    steps = pretrain(objective(), train, logger=CSVLogger(tmp_path / "logs" / "t.csv"), **{**SMALL, "runtime": runtime})
    for _ in range(3):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    table = tmp_path / "logs" / "t.csv"
    assert len(pd.read_csv(table)) == 3
    *_, last = pretrain(objective(), train, logger=CSVLogger(table), **{**SMALL, "runtime": runtime})
    found = pd.read_csv(table)
    assert found["step"].tolist() == list(range(1, last.index + 1))
    assert found["loss"].gt(0).all() and found["validation"].isna().all() and found["epoch"].tolist()[-1] == 2
    table.write_text("another,table\n1,2\n")
    CSVLogger(table).log({"step": 7, "loss": 0.5})
    assert table.read_text() == "step,loss\n7,0.5\n"


def test_tensorboard_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    for step in (1, 2):
        logger.log({"step": step, "loss": 1.5 / step, "validation": None})
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(each.step, each.value) for each in events.Scalars("loss")] == [(1, 1.5), (2, 0.75)]
    assert events.Tags()["scalars"] == ["loss"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'otolith\[tensorboard\]'"):
        TensorBoardLogger(tmp_path)


@pytest.mark.parametrize("log", ["csv", "none"])
def test_a_run_writes_a_table_by_default(store: Any, tmp_path: Path, log: str) -> None:
    (tmp_path / "r.toml").write_text(
        'dataset = "synthetic"\n[encoder]\nname = "strided"\n[objective]\nname = "simclr"\n[pretrain]\nepochs = 1\n'
    )
    job = Run(load(tmp_path / "r.toml"), tmp_path / "run", store.folder.parent)
    plan = job.plan(job.subject_windows())[:1]
    list(job.pretrain(of=plan, log=log))  # type: ignore[arg-type]
    tables = sorted((tmp_path / "run" / "logs").glob("*")) if log == "csv" else []
    assert [table.stem for table in tables] == [path.stem for path in job.encoders.iterdir()][: len(tables)]
    assert (tmp_path / "run" / "logs").exists() == (log == "csv")
    if tables:
        assert {"step", "loss", "loss/simclr"} <= set(pd.read_csv(tables[0]).columns)
