"""Studies: what the page says follows from the rows, and a question without rows is not answered."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otolith import study
from otolith.evaluate import Row

SCORES = {  # variant: mode: macro F1 at 2 and at 50 windows a class
    "simclr": {
        "finetune": (0.60, 0.80),
        "frozen": (0.40, 0.75),
        "scratch": (0.50, 0.70),
        "forest": (0.65, 0.80),
        "supervised": (0.52, 0.72),
        "frozen-logistic": (0.58, 0.78),
        "random-logistic": (0.55, 0.80),
    },
    "reconstruction": {"finetune": (0.50, 0.85), "frozen": (0.55, 0.70)},
    "simclr-uniform": {"finetune": (0.55, 0.80), "frozen": (0.35, 0.75)},
    "simclr-target": {"finetune": (0.62, 0.80)},
    "simclr-four-corpora": {"finetune": (0.63, 0.80)},
    "practices": {"finetune": (0.60, 0.80), "keep-objective": (0.57, 0.80)},
}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Two corpora, 5 folds, 3 seeds; scores vary by fold and seed, differences between arms vary a little by fold."""
    random = np.random.default_rng(0)
    made = []
    blank = {field.name: "" for field in dataclasses.fields(Row)}
    for dataset in ("spar", "wharf"):
        jitter = random.normal(scale=0.03, size=(5, 3))
        for variant, arms in SCORES.items():
            for mode, scores in arms.items():
                wobble = random.normal(scale=0.004, size=5)
                pretrained = mode not in ("scratch", "forest", "supervised", "random-logistic")
                for shots, score in zip((2, 50), scores, strict=True):
                    for fold in range(5):
                        for seed in range(3):
                            value = score + jitter[fold, seed] + (0.0 if mode == "scratch" else wobble[fold])
                            made.append(
                                {
                                    **blank,
                                    "dataset": dataset,
                                    "variant": variant,
                                    "objective": variant.split("-")[0] if pretrained else "-",
                                    "encoder": "-" if mode == "forest" else "tpn",
                                    "pretrained_on": "wisdm" if pretrained else "-",
                                    "pretraining": json.dumps({"pretrain": {"epochs": 7}}),
                                    "mode": mode,
                                    "fold": fold,
                                    "shots": shots,
                                    "seed": seed,
                                    "accuracy": value,
                                    "macro_f1": value,
                                    "f1_by_subject": json.dumps({f"p{fold}": value - 0.1}),
                                    "test_subjects": f"p{fold}",
                                    "seconds": 2.0,
                                    "commit": "abc",
                                    "torch": "2",
                                    "machine": "m",
                                    "fingerprint": f"{dataset}{variant}{mode}{shots}{fold}{seed}",
                                }
                            )
    table = pd.DataFrame(made)
    table["shots"] = table["shots"].astype("Int64")
    return table


def cell(text: str, line: str, column: int) -> str:
    """A cell of the first line of a Markdown table that begins so."""
    found = next(part for part in text.splitlines() if part.startswith(f"| {line} |"))
    return found.split("|")[column + 1].strip()


def gain(text: str) -> tuple[float, float, float]:
    numbers = re.findall(r"[-+]\d+\.\d", text)
    return float(numbers[-3]), float(numbers[-2]), float(numbers[-1])


def test_every_question_is_answered_by_the_differences_that_were_put_in(rows: pd.DataFrame) -> None:
    found = dict(study.answers(rows))
    freezing = found["Does fine-tuning beat freezing, by how much, where not?"]
    assert gain(cell(freezing, "spar, simclr", 1))[0] == pytest.approx(20, abs=1)
    middle, low, high = gain(cell(freezing, "wharf, reconstruction", 1))
    assert middle == pytest.approx(-5, abs=1) and low < middle < high < 0
    assert "Of 12 comparisons fine-tuning wins " in freezing and "loses 2 " in freezing
    shrinks = found["Does the gain shrink with labels?"]
    assert gain(cell(shrinks, "spar, simclr", 1))[0] == pytest.approx(15, abs=0.5)
    assert gain(cell(shrinks, "spar, reconstruction", 1))[0] == pytest.approx(-20, abs=0.5)
    assert "shrinks clearly in 4 of 6 cases and grows clearly in 2" in shrinks
    target = found["Does external pretraining with variance sampling beat pretraining on the target alone?"]
    assert gain(cell(target, "spar: simclr over simclr-target, finetune", 1))[0] == pytest.approx(-2, abs=1)
    uniform = found["Does it beat uniform sampling?"]
    assert gain(cell(uniform, "wharf: simclr over simclr-uniform, finetune", 1))[0] == pytest.approx(5, abs=1)
    random = found["Do frozen features beat those of a random encoder?"]
    middle, low, high = gain(cell(random, "spar: simclr over random-logistic", 1))
    assert middle == pytest.approx(3, abs=1) and low > 0
    assert gain(cell(random, "spar: simclr over random-logistic", 2))[0] == pytest.approx(-2, abs=1)
    best = found["Which objective is best?"]
    assert "reconstruction 2, simclr 2 times" in best or "simclr 2, reconstruction 2 times" in best
    assert cell(best, "spar", 1).startswith("simclr, over reconstruction") and cell(best, "spar", 2).startswith(
        "recons"
    )
    assert gain(cell(best, "spar", 1))[0] == pytest.approx(10, abs=1)
    corpora = found["Do several corpora help?"]
    assert gain(cell(corpora, "spar: simclr over simclr-four-corpora, finetune", 1))[0] == pytest.approx(-3, abs=1)
    practices = found["Do the practices between the poles, or keeping the objective, help?"]
    assert gain(cell(practices, "spar: keep-objective over plain fine-tuning", 1))[0] == pytest.approx(-3, abs=1)
    forest = found["Is any of it better than the forest, or than augmentation alone?"]
    middle, low, high = gain(cell(forest, "spar: best of ours over random forest", 2))
    assert cell(forest, "spar: best of ours over random forest", 2).startswith("reconstruction, finetune")
    assert middle == pytest.approx(5, abs=1) and low > 0
    assert "is ahead in 2 of 4 cases, behind in 2" in forest
    placement = found["What does pretraining add where the placement changes, and where it stays?"]
    assert gain(cell(placement, "wharf: simclr over scratch", 2))[0] == pytest.approx(10, abs=1)


def test_what_was_not_run_is_not_answered(rows: pd.DataFrame) -> None:
    some = rows[rows["variant"].isin(["simclr"]) & rows["mode"].isin(["finetune", "scratch"])]
    questions = [question for question, _ in study.answers(some)]
    assert len(questions) == 2 and questions[0].startswith("Is any of it better") and "placement" in questions[1]


def test_the_page_its_figure_and_its_table(rows: pd.DataFrame, tmp_path: Path) -> None:
    planned = {(dataset, variant): 90 for dataset in ("wharf", "spar") for variant in SCORES}
    planned["spar", "cpc"] = 30
    page, table = tmp_path / "docs" / "page.md", tmp_path / "results" / "rows.csv"
    study.write(rows, planned, path=page, title="What was found")
    study.write_table(rows, planned, table)
    text = page.read_text()
    assert text.startswith("# What was found\n") and "](page.svg)" in text and "commit abc" in text
    ran = text[text.index("## What was run") :]
    assert cell(ran, "spar, cpc", 1) == "not run (30)" and cell(ran, "spar, reconstruction", 1) == "60 of 90"
    assert cell(ran, "wharf, simclr", 4) == "epochs 7"
    assert float(cell(text, "simclr, finetune", 1)[:5]) == pytest.approx(0.6, abs=0.03)
    assert float(cell(text, "forest", 2)[:5]) == pytest.approx(0.8, abs=0.03)
    assert len(pd.read_csv(table)) == len(rows)
    picture = (tmp_path / "docs" / "page.svg").read_text()
    assert picture.startswith("<?xml") and "</svg>" in picture
    study.write_table(rows.sample(frac=1, random_state=0), planned, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == table.read_text()
    study.write(*study.read_table(table), path=tmp_path / "again.md", title="What was found")
    assert cell(text, "simclr, finetune", 1) in (tmp_path / "again.md").read_text()
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="lacks the columns dataset, macro_f1, planned, variant"):
        study.read_table(tmp_path / "odd.csv")
