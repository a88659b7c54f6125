"""Recordings and labels of one's own, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from commands import Ran
from otolith.data.store import open_store


@pytest.fixture
def mine(here: Path) -> list[str]:
    """Write the synthetic corpus as a user's CSV files; the lines of its labels file."""
    store, lines = open_store(Path("data/synthetic")), ["recording,start,end,label,person"]
    Path("mine").mkdir()
    for number, entry in enumerate(store.entries):
        signal = store.signal(entry)[:, :3]
        table = pd.DataFrame(signal, columns=list("xyz"))
        table.assign(time=table.index / 50).to_csv(f"mine/{number}.csv", index=False)
        lines.append(f"{number},1,7,{store.labels[entry.spans[0][2]]},{entry.subject}")
    return lines


def adapt(otolith: Callable[..., Ran], *more: str) -> Ran:
    encoder = next(Path("runs/small/encoders").glob("*everyone*"))
    return otolith(
        "adapt", encoder, "--recordings", "mine", "--labels", "labels.csv", "--out", "own", "--jobs", "1", *more
    )


def test_labels_become_a_model_with_an_estimate(mine: list[str], otolith: Callable[..., Ran]) -> None:
    Path("labels.csv").write_text("\n".join([*mine, "0,8,12,[odd],1"]))
    ran = adapt(otolith)
    assert ran.status == 0 and "[odd]" in ran.err and "warning: " in ran.err
    line = next(line.split() for line in ran.out.splitlines() if line.startswith("fast"))
    assert line[1:3] == ["30", "6"] and len(line) == 5
    assert "try: otolith label own/model.safetensors YOUR.csv" in ran.out
    assert Path("own/estimate.csv").exists() and Path("own/estimate.png").exists()
    assert otolith("label", "own/model.safetensors", "mine/3.csv", "--out", "labelled").status == 0

    ran = adapt(otolith, "--json", "--quiet")
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    assert set(found["estimates"]) == {"encoder", "forest"}
    assert found["chosen"] in found["estimates"] and found["model"] == "own/model.safetensors"
    assert set(found["estimates"]["forest"]["f1"]) == {line["label"] for line in found["labels"]}
    assert found["warnings"] and all(warning in ran.err for warning in found["warnings"])


def test_without_an_encoder_one_is_pretrained_on_the_recordings(mine: list[str], otolith: Callable[..., Ran]) -> None:
    Path("labels.csv").write_text("\n".join(mine))
    Path("own").mkdir(exist_ok=True)  # a folder of this name is no checkpoint
    given = ("--recordings", "mine", "--labels", "labels.csv", "--jobs", "1", "--json")
    ran = otolith("adapt", *given, "--out", "one", "--pretrain-steps", "2")
    assert ran.status == 0, ran.err
    assert "pretraining, step" in ran.err and set(json.loads(ran.out)["estimates"]) == {"encoder", "forest"}
    ran = otolith("adapt", "shipped", *given, "--out", "two")
    assert ran.status == 0 and "pretraining" not in ran.err
    assert otolith("label", "two/model.safetensors", "mine/3.csv", "--out", "labelled").status == 0


def test_one_person_gives_a_model_without_an_estimate(mine: list[str], otolith: Callable[..., Ran]) -> None:
    Path("labels.csv").write_text("\n".join(line for line in mine if line.endswith((",1", "person"))))
    ran = adapt(otolith)
    assert ran.status == 0 and "All windows are of one person (1)" in ran.out and "F1" not in ran.out
    assert [path.name for path in Path("own").iterdir()] == ["model.safetensors"]


def test_a_wrong_column_or_checkpoint_is_named(mine: list[str], otolith: Callable[..., Ran]) -> None:
    Path("labels.csv").write_text("\n".join(mine))
    ran = adapt(otolith, "--acc", "a,b,c")
    assert ran.status == 1 and "no column 'a'" in ran.err
    ran = otolith("adapt", "own/absent.safetensors", "--recordings", "mine", "--labels", "labels.csv")
    assert ran.status == 1 and "no checkpoint at 'own/absent.safetensors'" in ran.err


def test_one_bad_file_does_not_keep_the_others_from_being_labelled(
    mine: list[str], otolith: Callable[..., Ran]
) -> None:
    Path("labels.csv").write_text("\n".join(mine))
    assert adapt(otolith).status == 0
    Path("pic.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    ran = otolith("label", "own/model.safetensors", "mine/3.csv", "pic.csv", "--out", "labelled", "--jobs", "1")
    assert ran.status == 1 and "1 of 2 recordings cannot be labelled; the first: 'pic.csv' is a PNG image" in ran.err
    assert Path("labelled/3.timeline.csv").exists()
    ran = otolith("label", "own/model.safetensors", "pic.csv")
    assert ran.status == 1 and ran.err.count("'pic.csv' is a PNG image") == 1


def test_wrong_paths_are_named_first(here: Path, otolith: Callable[..., Ran]) -> None:
    ran = otolith("adapt", "shipped", "--recordings", "data", "--labels", "nope.csv")
    assert ran.status == 1 and ran.err == "error: no labels file at 'nope.csv'\n"
