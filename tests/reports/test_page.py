"""The report of a run: findings that follow from the rows, figures, and one self-contained page."""

import base64
import dataclasses
import json
import re

import numpy as np
import pandas as pd

from otolith.datasets import DATASETS
from otolith.evaluation.statistics import Gain
from otolith.reports import figures, findings, page, study_tables, style

CLASSES = ["slow", "medium", "fast"]


def rows(scores: dict[str, dict[int | None, float]], noise: float = 0.01, seeds: int = 3) -> pd.DataFrame:
    """5 folds x seeds x modes x shots around the given means."""
    random = np.random.default_rng(0)
    lines = []
    for seed in range(seeds):
        for fold in range(5):
            for mode, by_shots in scores.items():
                for shots, mean in by_shots.items():
                    score = mean + noise * random.normal()
                    lines.append(
                        {
                            "dataset": "synthetic",
                            "objective": "simclr" if mode in ("frozen", "finetune") else "-",
                            "encoder": "strided",
                            "mode": mode,
                            "shots": shots,
                            "seed": seed,
                            "fold": fold,
                            "macro_f1": score,
                            "accuracy": score,
                            "test_subjects": f"{fold} {fold + 5}",
                            "f1_by_class": json.dumps(dict.fromkeys(CLASSES, score)),
                            "f1_by_subject": json.dumps({str(fold): score - 0.1, str(fold + 5): score + 0.1}),
                            "confusion": json.dumps([[8, 2, 0], [1, 9, 0], [0, 0, 10]]),
                            "n_test": 30,
                            "seconds": 1.0,
                            "fewer": "{}",
                            "code": "c0de",
                            "commit": "abc",
                            "torch": "2",
                            "machine": "m",
                            "test_seen_in_pretraining": False,
                        }
                    )
    table = pd.DataFrame(lines)
    table["shots"] = table["shots"].astype("Int64")
    return table


GOOD = rows(
    {
        "finetune": {2: 0.6, 10: 0.80, None: 0.9},
        "frozen": {2: 0.5, 10: 0.80, None: 0.95},
        "scratch": {2: 0.3, 10: 0.5, None: 0.9},
        "forest": {2: 0.7, 10: 0.7, None: 0.9},
    }
)


def test_the_table_has_a_line_a_mode_and_all_comes_last() -> None:
    text = findings.table(GOOD)
    assert list(text.columns) == ["2", "10", "all"]
    assert list(text.index) == ["fine-tuned", "frozen", "from scratch", "random forest"]
    assert text.loc["fine-tuned", "2"].startswith("0.6")
    assert re.fullmatch(r"0\.9[45]\d \[0\.9\d, 0\.9\d\]", text.loc["frozen", "all"])
    lines = findings.markdown(GOOD).splitlines()
    assert "|  | 2 | 10 | all |" in lines
    assert sum(line.startswith("| fine-tuned over") for line in lines) == 3
    assert lines[-1] == "Made by otolith code c0de, commit abc, torch 2, m."


def test_findings_follow_the_sign_and_the_interval() -> None:
    sentences = findings.findings(GOOD)
    fine = sentences[0].split("; ")
    assert re.search(r"freezing: \+(9|10|11)\.\d points \[.*\] with 2 windows per class$", fine[0])
    assert fine[1].endswith("with 10 windows per class, not clear")
    assert fine[2].startswith("-") and fine[2].endswith("with all windows per class.")
    forest = next(text for text in sentences if "compared with random forest" in text).split("; ")
    assert forest[0].split(": ")[1].startswith("-") and "2 windows per class (" in forest[0]
    assert forest[1].startswith("+") and "10 windows per class (" in forest[1]
    assert any("use it: it needs no pretraining" in text for text in sentences)


def test_the_best_pretrained_arm_may_be_a_recipes_own(tmp_path) -> None:
    scores = {
        "finetune": {2: 0.75},
        "own arm": {2: 0.8},
        "frozen": {2: 0.7},
        "random-frozen": {2: 0.9},
        "forest": {2: 0.6},
    }
    found = rows(scores)
    found.loc[found["mode"] == "own arm", "objective"] = "simclr"
    zero_shot = rows({"own zero-shot arm": {0: 0.95}})  # it uses no labels, and is no candidate
    both = pd.concat([found, zero_shot.assign(objective="primus")], ignore_index=True)
    assert findings.findings(both)[:-1] == findings.findings(found)[:-1]  # the last sentence names the best of all arms
    sentence = next(text for text in findings.findings(found) if "compared with random forest" in text)
    assert sentence.startswith("The best pretrained arm") and sentence.endswith("(own arm).")
    page.write(tmp_path / "r.html", found, title="t", card=DATASETS["synthetic"], recipe="")
    figure = figures.confusion_figure(found, ["own arm", "forest"], CLASSES, 2)
    assert base64.b64encode(style.svg(figure)).decode() in (tmp_path / "r.html").read_text()
    lines = figures.curve(found).axes[0].get_lines()
    colours = {line.get_color() for line in lines if len(line.get_label())}
    assert len(colours & {*style.COLOURS.values(), *style.OTHERS}) == 5


def test_the_forest_is_not_recommended_where_it_never_wins() -> None:
    better = rows({"finetune": {2: 0.8}, "frozen": {2: 0.7}, "forest": {2: 0.5}})
    assert not any("use it: it needs no pretraining" in text for text in findings.findings(better))


def test_the_page_is_whole_and_needs_nothing_else(tmp_path, windows) -> None:
    embedding = figures.Embedding.of(windows.array().flatten(1), windows, at_most=60)
    report = tmp_path / "report.html"
    page.write(
        report,
        GOOD,
        title="A <title>",
        card=DATASETS["synthetic"],
        recipe='name = "x & y"',
        embedding=embedding,
        history=[[1, 2.0, 2.5], [2, 1.5, 2.2]],
        picture=b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    )
    text = report.read_text()
    assert text.count("<figure>") == 6
    assert not re.search(r"(src|href)=\"(?!data:)", text), "nothing is loaded from anywhere"
    assert "A &lt;title&gt;" in text and "x &amp; y" in text
    assert "c0de" in text and "abc" in text
    for finding in findings.findings(GOOD):
        assert finding.split(":")[0] in text
    again = tmp_path / "again.html"
    page.write(again, GOOD, title="A <title>", card=DATASETS["synthetic"], recipe='name = "x & y"')
    assert "t-SNE" not in again.read_text()


def test_rows_of_people_seen_in_pretraining_are_announced(tmp_path) -> None:
    report = tmp_path / "report.html"
    seen = GOOD.assign(test_seen_in_pretraining=True)
    page.write(report, seen, title="t", card=DATASETS["synthetic"], recipe="")
    assert "saw test subjects in pretraining" in report.read_text()


def test_one_seed_and_two_modes_are_enough_for_a_page(tmp_path) -> None:
    few = rows({"frozen": {5: 0.5}, "forest": {5: 0.6}}, seeds=1)
    page.write(tmp_path / "r.html", few, title="t", card=DATASETS["synthetic"], recipe="")
    two = few[few["fold"] < 2]  # groups are too few for an interval, and drawn as dots
    page.write(tmp_path / "r.html", two, title="t", card=DATASETS["synthetic"], recipe="")
    assert "[" in findings.table(few).to_string() and "[" not in findings.table(two).to_string()
    dots = [line for line in figures.curve(two).axes[0].get_lines() if line.get_marker() == "."]
    assert [len(line.get_ydata()) for line in dots] == [2, 2]
    assert not any(line.get_marker() == "." for line in figures.curve(few).axes[0].get_lines())


def test_scores_and_their_intervals_stay_between_0_and_1() -> None:
    high = rows({"finetune": {2: 0.99, 10: 0.999}, "frozen": {2: 0.01, 10: 0.02}}, noise=0.02)
    high = high.assign(macro_f1=high["macro_f1"].clip(0, 1))
    low, top = figures.curve(high).axes[0].get_ylim()
    assert 0 <= low < top <= 1
    ends = re.findall(r"\[(-?\d\.\d+), (-?\d\.\d+)\]", findings.table(high).to_string())
    assert len(ends) == 4 and all(0 <= float(a) < float(b) <= 1 for a, b in ends)


def test_a_cell_of_fewer_folds_or_seeds_is_marked(tmp_path) -> None:
    part = GOOD[~((GOOD["mode"] == "frozen") & (GOOD["shots"] == 10).fillna(False) & (GOOD["seed"] == 2))]
    part = part[~((part["mode"] == "forest") & (part["fold"] == 4))]
    text = findings.table(part)
    assert {name for name, line in text.iterrows() if "\u2020" in line["10"]} == {"frozen", "random forest"}
    assert {name for name, line in text.iterrows() if "\u2020" in line["2"]} == {"random forest"}
    legend = "\u2020 rests on fewer folds or seeds than another cell of this table."
    assert legend in findings.markdown(part) and legend not in findings.markdown(GOOD)
    page.write(tmp_path / "r.html", part, title="t", card=DATASETS["synthetic"], recipe="")
    assert legend in (tmp_path / "r.html").read_text()


def test_whether_a_difference_is_clear_is_adjusted_for_the_number_of_comparisons() -> None:
    def gain(p: float) -> Gain:
        return Gain("a", "b", 2, 0.1, 0.0, 0.2, p, (0.1,) * 5, 5, 1, 5)

    assert study_tables.clear([gain(0.03)]) == [True]
    assert study_tables.clear([gain(0.03), gain(0.04), gain(0.01)]) == [False, False, True]
    words = study_tables.verdict([gain(0.03), gain(0.04), gain(0.01), gain(np.nan)], "this")
    assert words == "of 4 comparisons, this is clearly better in 1 and clearly worse in 0"
    none = dataclasses.replace(gain(np.nan), low=np.nan, high=np.nan)
    assert study_tables.verdict([none]) == "none of 1 comparisons has an interval"
    assert study_tables.verdict([none, gain(0.5)]).endswith("clearly worse in 0; 1 have no interval")


def test_confusion_is_drawn_as_shares_of_the_truth() -> None:
    figure = figures.confusion_figure(GOOD, ["finetune"], CLASSES, 10)
    drawn = {text.get_text() for text in figure.axes[0].texts}
    assert drawn == {"80", "20", "10", "90", "100"}


def test_equal_figures_give_equal_bytes() -> None:
    assert style.svg(figures.curve(GOOD)) == style.svg(figures.curve(GOOD))
