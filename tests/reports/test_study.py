"""Pages of studies: answers follow from the rows, and a question without rows is left out."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otolith.evaluation.rows import Row
from otolith.reports import dont_freeze, primus, study

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
                                    "pretraining": json.dumps({"pretrain": {"epochs": 7, "sampling": {"share": 0.1}}}),
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
    found = {answer.question: answer.text for answer in dont_freeze.answers(rows)}
    freezing = found["Does fine-tuning score higher than freezing?"]
    assert gain(cell(freezing, "spar, simclr", 1))[0] == pytest.approx(20, abs=1)
    middle, low, high = gain(cell(freezing, "wharf, reconstruction", 1))
    assert middle == pytest.approx(-5, abs=1) and low < middle < high < 0
    assert "Of 12 comparisons, fine-tuning is clearly better in 10 and clearly worse in 2." in freezing
    shrinks = found["Does the gain shrink with more labels?"]
    assert gain(cell(shrinks, "spar, simclr", 1))[0] == pytest.approx(15, abs=0.5)
    assert gain(cell(shrinks, "spar, reconstruction", 1))[0] == pytest.approx(-20, abs=0.5)
    assert "clearly shrinks in 4 of 6 cases and clearly grows in 2" in shrinks
    target = found[
        "Does external pretraining with variance sampling score higher than pretraining on the target corpus?"
    ]
    assert gain(cell(target, "spar: simclr over simclr-target, finetune", 1))[0] == pytest.approx(-2, abs=1)
    uniform = found["Does variance sampling score higher than uniform sampling?"]
    assert gain(cell(uniform, "wharf: simclr over simclr-uniform, finetune", 1))[0] == pytest.approx(5, abs=1)
    random = found["Do frozen features score higher than those of a random encoder?"]
    middle, low, high = gain(cell(random, "spar: simclr over random-logistic", 1))
    assert middle == pytest.approx(3, abs=1) and low > 0
    assert gain(cell(random, "spar: simclr over random-logistic", 2))[0] == pytest.approx(-2, abs=1)
    best = found["Which objective scores highest?"]
    assert "reconstruction (2), simclr (2)." in best or "simclr (2), reconstruction (2)." in best
    assert cell(best, "spar", 1).startswith("simclr, over reconstruction") and cell(best, "spar", 2).startswith(
        "recons"
    )
    assert gain(cell(best, "spar", 1))[0] == pytest.approx(10, abs=1)
    corpora = found["Does pretraining on several corpora help?"]
    assert gain(cell(corpora, "spar: simclr over simclr-four-corpora, finetune", 1))[0] == pytest.approx(-3, abs=1)
    practices = found["Does partial fine-tuning help, or keeping the pretraining loss?"]
    assert gain(cell(practices, "spar: keep-objective over plain fine-tuning", 1))[0] == pytest.approx(-3, abs=1)
    forest = found["Does pretraining score higher than a random forest, or than augmentation alone?"]
    middle, low, high = gain(cell(forest, "spar: best pretrained arm over random forest", 2))
    assert cell(forest, "spar: best pretrained arm over random forest", 2).startswith("reconstruction, finetune")
    assert middle == pytest.approx(5, abs=1) and low > 0
    assert "of 4 comparisons, the best pretrained arm is clearly better in 2 and clearly worse in 2." in forest
    placement = found["What does pretraining add where the placement of the sensor changes, and where it stays?"]
    assert gain(cell(placement, "wharf: simclr over scratch", 2))[0] == pytest.approx(10, abs=1)


def test_people_count_once_however_many_objectives_tested_them(rows: pd.DataFrame) -> None:
    """The mean gain over two corpora rests on 5 groups of people each, not on 5 for each of the 4 objectives."""
    (answer, *_) = dont_freeze.answers(rows)
    pooled = answer.gains[-2:]
    assert [len(gain.by_group) for gain in pooled] == [10, 10] and len(answer.gains) == 12 + 2
    single = next(gain for gain in answer.gains if gain.shots == 2)
    assert len(single.by_group) == 5


def test_cells_of_fewer_seeds_are_marked_and_comparisons_are_counted(rows: pd.DataFrame, tmp_path: Path) -> None:
    some = rows[~((rows["variant"] == "reconstruction") & (rows["seed"] > 0))]
    study.write(some, {("spar", "simclr"): 1}, path=tmp_path / "page.md", title="t", rows_link="rows.csv")
    text = (tmp_path / "page.md").read_text()
    assert cell(text, "reconstruction, finetune", 1).endswith("\u2020")
    assert "\u2020" not in cell(text, "simclr, finetune", 1)
    assert "\u2020 rests on fewer folds or seeds than another cell of this table." in text
    count = sum(len(answer.gains) for answer in dont_freeze.answers(some))
    assert f"The page makes {count} comparisons." in text and "Holm" in text


def test_what_was_not_run_is_not_answered(rows: pd.DataFrame) -> None:
    some = rows[rows["variant"].isin(["simclr"]) & rows["mode"].isin(["finetune", "scratch"])]
    questions = [answer.question for answer in dont_freeze.answers(some)]
    assert (
        len(questions) == 2 and questions[0].startswith("Does pretraining score higher") and "placement" in questions[1]
    )


def test_the_page_its_figure_and_its_table(rows: pd.DataFrame, tmp_path: Path) -> None:
    planned = {(dataset, variant): 90 for dataset in ("wharf", "spar") for variant in SCORES}
    planned["spar", "cpc"] = 30
    page, table = tmp_path / "docs" / "page.md", tmp_path / "results" / "rows.csv"
    study.write(rows, planned, path=page, title="What was found", rows_link="rows.csv")
    study.write_table(rows, planned, table)
    text = page.read_text()
    assert text.startswith("# What was found\n") and "](page.svg)" in text and "commit abc" in text
    ran = text[text.index("## What was run") :]
    assert cell(ran, "spar, cpc", 1) == "not run (30)" and cell(ran, "spar, reconstruction", 1) == "60 of 90"
    assert cell(ran, "wharf, simclr", 4) == "epochs 7, sampling.share 0.1"
    assert float(cell(text, "simclr, finetune", 1)[:5]) == pytest.approx(0.6, abs=0.03)
    assert float(cell(text, "forest", 2)[:5]) == pytest.approx(0.8, abs=0.03)
    assert len(pd.read_csv(table)) == len(rows)
    whole = page.with_suffix(".html").read_text()
    assert set(re.findall(r'href="([^"#]+)"', whole)) == {"rows.csv"}
    titles = [part[0] for part in re.findall(r"<h2 [^>]*>([^<]*)(</h2>)", whole)]
    assert titles[:4] == ["Macro F1 by number of labels", "Scores", "Answers", "What was run"]
    assert whole.count("<table") == text.count("\n| --- ") and whole.count("<figure>") == 2
    assert cell(text, "simclr, finetune", 1).split(" ")[0] in whole
    assert "<caption><span>spar (in brackets: the score of the worst subject)</span></caption>" in whole
    assert "Macro F1, spar; the highest mean is, with 2 windows per class" in whole
    picture = (tmp_path / "docs" / "page.svg").read_text()
    assert picture.startswith("<?xml") and "</svg>" in picture
    study.write_table(rows.sample(frac=1, random_state=0), planned, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == table.read_text()
    study.write(*study.read_table(table), path=tmp_path / "again.md", title="What was found", rows_link="rows.csv")
    assert cell(text, "simclr, finetune", 1) in (tmp_path / "again.md").read_text()
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="lacks the columns dataset, macro_f1, planned, shots, variant"):
        study.read_table(tmp_path / "odd.csv")


def test_the_tables_of_a_page_are_latex_too(rows: pd.DataFrame, tmp_path: Path) -> None:
    planned = {(dataset, variant): 90 for dataset in ("wharf", "spar") for variant in SCORES}
    page = tmp_path / "page.md"
    study.write(rows, planned, path=page, title="t", rows_link="rows.csv", latex=True)
    text, found = page.read_text(), page.with_suffix(".tex").read_text()
    labels = re.findall(r"\\label{(.*?)}", found)
    assert found.count(r"\begin{table}") == len(labels) == len(set(labels)) == text.count("\n| --- ")
    assert cell(text, "simclr, finetune", 1).split(" ")[0] in found and "\u2020" not in found
    assert "chen2020simclr" in page.with_suffix(".bib").read_text()
    study.write(rows, planned, path=tmp_path / "other.md", title="t", rows_link="rows.csv")
    assert not (tmp_path / "other.tex").exists() and not (tmp_path / "other.bib").exists()


def test_every_classical_method_has_its_line(rows: pd.DataFrame) -> None:
    forest = rows[rows["mode"] == "forest"]
    others = [forest.assign(mode=name, fingerprint=forest["fingerprint"] + name) for name in ("minirocket", "svm")]
    lines = dont_freeze.score_lines(pd.concat([rows[rows["dataset"] == "spar"], *others]))
    assert [name for name, _ in lines[-3:]] == ["forest", "svm", "minirocket"]


# PRIMUS

ARMS = {  # variant: mode: macro F1 at 1 and at 20 windows a class; zero-shot has no windows
    "simclr": {"frozen": (0.50, 0.60), "finetune": (0.52, 0.70), "frozen-logistic": (0.50, 0.62)},
    "ssl": {"frozen": (0.45, 0.58), "finetune": (0.50, 0.69), "frozen-logistic": (0.46, 0.60)},
    "multimodal": {"frozen": (0.55, 0.64), "finetune": (0.56, 0.70), "zero-shot": (0.3,)},
    "ssl-multimodal": {"frozen": (0.57, 0.66), "finetune": (0.60, 0.73), "zero-shot": (0.32,)},
    "primus": {
        "frozen": (0.60, 0.68),
        "finetune": (0.59, 0.72),
        "frozen-logistic": (0.58, 0.66),
        "zero-shot": (0.35,),
        "scratch": (0.30, 0.60),
        "random-frozen": (0.25, 0.40),
        "random-logistic": (0.40, 0.50),
        "forest": (0.55, 0.75),
    },
    "primus-tenth": {"frozen": (0.54, 0.66), "finetune": (0.58, 0.71)},
    "primus-wordless": {"frozen": (0.50, 0.60), "finetune": (0.55, 0.70), "frozen-logistic": (0.45, 0.55)},
    "primus-strided-wordless": {"frozen-logistic": (0.50, 0.65), "few-shot": (0.55, 0.80)},
    "queue-1024": {"frozen": (0.58, 0.67)},
    "temperature-0.2": {"frozen": (0.62, 0.70)},
}


def primus_rows(settings: tuple[str, ...] = ("utd-mhad", "spar")) -> pd.DataFrame:
    """Fixed test subjects, so that intervals must come from subjects; 3 seeds."""
    random = np.random.default_rng(0)
    made = []
    blank = {field.name: "" for field in dataclasses.fields(Row)}
    subjects = ["2", "4", "6", "8", "10", "12"]
    for setting in settings:
        jitter = random.normal(scale=0.03, size=(6, 3))
        for variant, arms in ARMS.items():
            for mode, scores in arms.items():
                wobble = random.normal(scale=0.003, size=6)
                pretrained = mode not in ("scratch", "random-frozen", "random-logistic", "forest")
                for shots, score in zip((0,) if mode == "zero-shot" else (1, 20), scores, strict=True):
                    for seed in range(3):
                        own = score + jitter[:, seed] + wobble
                        made.append(
                            {
                                **blank,
                                "dataset": setting,
                                "variant": variant,
                                "objective": ("simclr" if variant == "simclr" else "primus") if pretrained else "-",
                                "encoder": "-" if mode == "forest" else "primus",
                                "pretrained_on": "utd-mhad" if pretrained else "-",
                                "pretraining": json.dumps({"objective": {"name": "primus", "queue": 8192}}),
                                "checkpoint": f"{setting}{variant}{seed}" if pretrained else "-",
                                "mode": mode,
                                "fold": 0,
                                "shots": shots,
                                "seed": seed,
                                "accuracy": score + 0.1,
                                "macro_f1": float(own.mean()),
                                "f1_by_class": json.dumps({"wave": 0.5, "clap": 0.5, "walk": 0.5, "jog": 0.5}),
                                "f1_by_subject": json.dumps(dict(zip(subjects, own.tolist(), strict=True))),
                                "test_subjects": " ".join(subjects),
                                "seconds": 2.0,
                                "commit": "abc",
                                "torch": "2",
                                "machine": "m",
                                "fingerprint": f"{setting}{variant}{mode}{shots}{seed}",
                            }
                        )
    table = pd.DataFrame(made)
    table["shots"] = table["shots"].astype("Int64")
    return table


def part(text: str, title: str) -> str:
    """The table below a bold title."""
    return text[text.index(f"**{title}**") :].split("\n\n")[1]


def test_the_questions_of_primus_are_answered_by_what_was_put_in() -> None:
    found = {answer.question: answer.text for answer in primus.answers(primus_rows())}
    adds = found["What does each term add?"]
    neighbours = part(adds, "Nearest neighbours added to both terms")
    middle, low, high = gain(cell(neighbours, "utd-mhad, frozen", 1))
    assert middle == pytest.approx(3, abs=0.6) and 0 < low < middle < high
    assert gain(cell(neighbours, "utd-mhad, fine-tuned", 2))[0] == pytest.approx(-1, abs=0.6)
    assert gain(cell(part(adds, "The multimodal term over no pretraining"), "spar, frozen", 1))[0] == pytest.approx(
        30, abs=0.6
    )
    assert gain(cell(part(adds, "PRIMUS over no pretraining"), "spar, fine-tuned", 2))[0] == pytest.approx(12, abs=0.6)
    simclr = found["Where does PRIMUS score higher than SimCLR with equal compute?"]
    assert gain(cell(part(simclr, "PRIMUS without text over SimCLR"), "spar, fine-tuned", 1))[0] == pytest.approx(
        3, abs=0.6
    )
    simclr = simclr[simclr.index("**PRIMUS over SimCLR**") :]
    assert gain(cell(simclr, "spar, frozen", 1))[0] == pytest.approx(10, abs=0.6)
    assert gain(cell(simclr, "spar, frozen, logistic head", 2))[0] == pytest.approx(4, abs=0.6)
    assert re.search(r"of 12 comparisons, the first is clearly better in 12 and clearly worse in 0", simclr)
    tenth = found["Does a tenth of the pairs suffice?"]
    assert gain(cell(part(tenth, "All pairs over a tenth of the pairs"), "utd-mhad, frozen", 1))[0] == pytest.approx(
        6, abs=0.6
    )
    words = found["What does text add to video and skeletons?"]
    assert gain(cell(words, "utd-mhad, fine-tuned", 1))[0] == pytest.approx(4, abs=0.6)
    order = found["Does fine-tuning change the order of the arms?"]
    assert cell(order, "utd-mhad, 1", 1).startswith("primus > ssl-multimodal > multimodal > primus-tenth > ")
    assert cell(order, "utd-mhad, 1", 2).startswith("ssl-multimodal > primus > primus-tenth > multimodal > ")
    assert 0.5 < float(cell(order, "utd-mhad, 1", 3)) < 1
    assert gain(cell(order, "spar, simclr", 2))[0] == pytest.approx(10, abs=0.6)
    sensitive = found["How sensitive is PRIMUS to its settings?"]
    assert "queue 8192" in sensitive
    assert gain(cell(sensitive, "utd-mhad: queue-1024 over primus", 1))[0] == pytest.approx(-2, abs=0.6)
    assert gain(cell(sensitive, "spar: temperature-0.2 over primus", 2))[0] == pytest.approx(2, abs=0.6)
    forest = found["Does pretraining score higher than a random forest?"]
    assert gain(cell(forest, "spar: primus, fine-tuned", 2))[0] == pytest.approx(-3, abs=0.6)
    recovered = found["Which variant recovers how much of the gap to the random forest?"]
    of_the_gap = cell(recovered, "utd-mhad: primus-strided-wordless, frozen, logistic head", 2)
    assert of_the_gap.split(" = ")[0] in ("48%", "49%", "50%", "51%", "52%")
    assert gain(of_the_gap.split(" = ")[1])[0] == pytest.approx(10, abs=0.6)
    assert int(cell(recovered, "spar: primus-strided-wordless, frozen, few-shot head", 2).split("%")[0]) > 115
    assert (
        "utd-mhad: primus-wordless, frozen, logistic head" not in recovered
    )  # it is what the others are compared with
    assert len(found) == 8
    few = primus_rows()
    few = few[few["variant"].isin(["primus", "simclr"])]
    assert [answer.question for answer in primus.answers(few)] == [
        "What does each term add?",
        "Where does PRIMUS score higher than SimCLR with equal compute?",
        "Does pretraining score higher than a random forest?",
    ]


def test_the_page_of_primus(tmp_path: Path) -> None:
    rows = primus_rows()
    planned = {(setting, variant): 40 for setting in ("utd-mhad", "spar") for variant in ARMS} | {
        ("spar", "alpha-0.25"): 9
    }
    recalls = pd.DataFrame(
        [
            {
                "setting": "utd-mhad",
                "variant": "primus",
                "dataset": "utd-mhad",
                "modality": "video",
                "n_windows": 200 + 2 * fold,
                "n_keys": 100,
                "test_subjects": f"{fold}",
                **{
                    f"{way}{chance}_r{k}": value / k
                    for way in ("imu_to_paired", "paired_to_imu")
                    for k in (1, 5, 10)
                    for chance in ("", "_chance")
                },
            }
            for fold, value in enumerate((0.2, 0.4))
        ]
    )
    page, table = tmp_path / "page.md", tmp_path / "rows.csv"
    study.write(rows, planned, path=page, title="PRIMUS", rows_link="rows.csv", recalls=recalls)
    text = page.read_text()
    assert (
        text.startswith("# PRIMUS\n")
        and "](page.svg)" in text
        and (tmp_path / "page.svg").read_text().startswith("<?xml")
    )
    assert "Does the gain shrink" not in text and "## Retrieval" in text
    assert float(cell(text, "primus, frozen", 1)[:5]) == pytest.approx(0.6, abs=0.03)
    assert "(0.70)" in cell(text, "primus, frozen", 1)
    assert float(cell(text, "no pretraining: forest", 2)[:5]) == pytest.approx(0.75, abs=0.03)
    zero = text[text.index("## Zero-shot") :]
    assert float(cell(zero, "utd-mhad, primus", 1)) == pytest.approx(0.35, abs=0.03)
    assert cell(zero, "utd-mhad, primus", 3) == "0.250" and cell(zero, "utd-mhad, primus", 4) == "3"
    assert cell(text, "primus, video -> IMU", 1) == "201" and cell(text, "primus, IMU -> video", 2) == "0.300 (0.300)"
    ran = text[text.index("## What was run") :]
    assert cell(ran, "spar, alpha-0.25", 1) == "not run (9)"
    study.write_table(rows, planned, table, recalls)
    study.write(
        *study.read_table(table),
        path=tmp_path / "again.md",
        title="PRIMUS",
        rows_link="rows.csv",
        recalls=study.read_recalls(table),
    )
    again = (tmp_path / "again.md").read_text()
    for heading in ("## Scores", "## Zero-shot", "## Retrieval", "### How sensitive is PRIMUS to its settings?"):
        assert heading in again
    assert cell(again, "primus, IMU -> video", 2) == "0.300 (0.300)"
    assert study.read_recalls(tmp_path / "none.csv").empty
    odd = recalls.drop(columns=["imu_to_paired_r1", "modality"]).assign(there_1=0.5)
    odd.to_csv(tmp_path / "odd-recalls.csv", index=False)
    with pytest.raises(ValueError, match="lacks the columns imu_to_paired_r1, modality; expected recalls"):
        study.read_recalls(tmp_path / "odd.csv")
    study.write(rows, planned, path=tmp_path / "bare.md", title="PRIMUS", rows_link="rows.csv")
    assert "## Retrieval" not in (tmp_path / "bare.md").read_text()
    scores = text[text.index("## Scores") :]
    assert scores.index("| primus-wordless, frozen |") < scores.index("| simclr, frozen |") and "(text)," not in scores
    given = json.dumps({"paired": {"modalities": ["text", "video"]}})
    named = rows.assign(pretraining=rows["pretraining"].where(rows["variant"] != "primus", given))
    alone = json.dumps({**json.loads(given), "objective": {"alpha": 1.0}})  # uses no pairs
    named["pretraining"] = named["pretraining"].where(rows["variant"] != "ssl", alone)
    study.write(named, planned, path=tmp_path / "named.md", title="PRIMUS", rows_link="rows.csv")
    named = (tmp_path / "named.md").read_text()
    assert (
        "| ssl, frozen |" in named and "| primus (text), frozen |" in named and "| primus-wordless, frozen |" in named
    )
    assert "All arms have the same encoder" in text and "Arms differ" not in text
    other = rows["variant"] == "primus-strided-wordless"
    longer = json.dumps({"pretrain": {"epochs": 90}})
    mixed = rows.assign(
        encoder=rows["encoder"].mask(other, "strided"), pretraining=rows["pretraining"].mask(other, longer)
    )
    study.write(mixed, planned, path=tmp_path / "mixed.md", title="PRIMUS", rows_link="rows.csv")
    mixed = (tmp_path / "mixed.md").read_text()
    assert "Arms differ in their encoder and settings of pretraining: see" in mixed and "All arms" not in mixed


@pytest.mark.parametrize(
    ("column", "text", "message"),
    [
        ("macro_f1", "high", r"row 3: macro_f1 is 'high'; expected a number from 0 to 1"),
        ("macro_f1", "1e39", r"row 3: macro_f1 is '1e\+?39'; expected a number from 0 to 1"),
        ("fold", "inf", r"row 3: fold is 'inf'; expected a number"),
        ("shots", "all", r"row 3: shots is 'all'; expected a number"),
        ("planned", "many", r"row 3: planned is 'many'; expected a number"),
        ("transfer", "{'a': 1}", r"row 3: transfer is '{'a': 1}'; expected JSON"),
    ],
)
def test_text_among_a_tables_numbers_is_named(
    rows: pd.DataFrame, tmp_path: Path, column: str, text: str, message: str
) -> None:
    path = tmp_path / "table.csv"
    counts = {(str(a), str(b)): 1 for a, b in rows[["dataset", "variant"]].drop_duplicates().to_numpy()}
    study.write_table(rows, counts, path)
    written = pd.read_csv(path, dtype=str, keep_default_na=False)
    written.loc[2, column] = text
    written.to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"table\.csv', {message}"):
        study.read_table(path)
