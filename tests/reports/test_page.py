"""The report of a run: findings that follow from the rows, figures, and one self-contained page."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from otolith.datasets import DATASETS
from otolith.evaluation.statistics import Gain
from otolith.reports import drawing, figures, findings, html, latex, page, people, references, study_tables, style

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
    text = (tmp_path / "r.html").read_text()
    assert "Own arm, 2 windows per class: percent of each true class" in text
    assert findings.gain_pairs(found)["forest"] == ["finetune", "frozen", "own arm"]  # the best arm is among the gains
    assert "own arm over random forest" in text and "own arm, 2: " in text
    assert len({colour for _, colour in figures.mode_colours(found)}) == 5


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
        picture=Markup("<figure class=wide><svg></svg></figure>").replace("class=wide", 'class="wide"'),
    )
    text = report.read_text()
    assert text.count("<figure ") == 1 + 3 + 3 + 2 + 1 + 1  # curve, scores, gains, maps, picture, history
    addresses = re.findall(r'\b(?:src|href)="([^"]*)"', text)
    assert {each for each in addresses if not each.startswith(("data:", "#"))} == {"rows.csv"}, "nothing is loaded"
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'\bid="([^"]+)"', text))
    assert "A &lt;title&gt;" in text and "x &amp; y" in text
    assert "c0de" in text and "abc" in text
    for finding in findings.findings(GOOD):
        assert finding.split(":")[0] in text
    assert "@misc{fortesrey2023dontfreeze" in text and "burns2018spar" not in text
    tables, captions = re.findall(r"<table\b.*?</table>", text, re.DOTALL), text.count("<caption")
    assert len(tables) == captions == 7
    assert all('<th scope="row">' in each for each in tables)
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
    assert "p " in findings.gain_table(few).to_string() and "p -" not in findings.gain_table(two).to_string()
    for table, intervals in ((few, 2), (two, 0)):  # dots are there with and without an interval: one for each subject
        lines = figures.score_figure(table, 5).axes[0].get_lines()
        assert [len(line.get_ydata()) for line in lines if line.get_marker() == "o"] == [
            table["fold"].nunique() * 2
        ] * 2
        assert sum(line.get_linestyle() == "-" for line in lines) == intervals


def test_scores_and_their_intervals_stay_between_0_and_1() -> None:
    high = rows({"finetune": {2: 0.99, 10: 0.999}, "frozen": {2: 0.01, 10: 0.02}}, noise=0.02)
    high = high.assign(macro_f1=high["macro_f1"].clip(0, 1))
    assert figures.curve(high).axes[0].get_ylim() == figures.score_figure(high, 2).axes[0].get_xlim() == (0, 1)
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


def test_confusion_is_shown_as_shares_of_the_truth() -> None:
    caption, cells = next(item for item in page.tables(GOOD).items() if item[0].startswith("Confusion of fine-tuned"))
    assert "10 labelled windows" in caption
    assert cells.to_numpy().tolist() == [["80", "20", ""], ["10", "90", ""], ["", "", "100"]]


def test_a_figure_follows_the_theme_and_has_text_and_tooltips() -> None:
    text = drawing.inline_svg(figures.score_figure(GOOD, 2), 'what "it" shows')
    assert text.startswith('<svg viewBox="') and 'aria-label="what &quot;it&quot; shows"' in text
    assert not re.search(r": #[0-9a-f]{6}", text), "every colour is one of the style sheet's"
    sheet = html.render("style.css")
    for name in drawing.THEME.values():
        assert sheet.count(f"--{name}: ") == 2  # for light and for dark
    assert re.search(r"<text [^>]*>fine-tuned</text>", text) and "DejaVu" not in text
    assert len(re.findall("<title>subject [0-9]: 0", text)) == 4 * 10  # ten subjects, four methods
    score = findings.table(GOOD).loc["fine-tuned", "2"]
    assert f"<title>fine-tuned: {score}</title>" in text
    figure = figures.score_figure(GOOD, 2)
    drawing.add_tips(figure.axes[0].get_lines()[0], ["one too few"])
    with pytest.raises(ValueError, match="1 tooltips for 10 points"):
        drawing.inline_svg(figure, "")


def test_people_and_classes_have_their_scores() -> None:
    tables = page.tables(GOOD)
    by_subject = next(cells for caption, cells in tables.items() if caption.startswith("Macro F1 by subject"))
    assert list(by_subject.index) == [str(k) for k in range(10)]
    chosen = GOOD[(GOOD["mode"] == "frozen") & (GOOD["shots"] == 10).fillna(False)]
    expected = np.mean([json.loads(text)["7"] for text in chosen["f1_by_subject"] if "7" in json.loads(text)])
    assert by_subject.loc["7", "frozen"] == f"{expected:.2f}"
    by_class = next(cells for caption, cells in tables.items() if caption.startswith("F1 by class"))
    assert by_class.loc["slow", "frozen"] == f"{chosen['macro_f1'].mean():.2f}"
    one, two = (GOOD[GOOD["mode"] == mode] for mode in ("finetune", "scratch"))
    gains = people.gains_by_subject(one, two)
    assert np.mean(list(gains.values())) == pytest.approx(one["macro_f1"].mean() - two["macro_f1"].mean())


def test_tables_are_latex_and_what_was_used_is_bibtex() -> None:
    found = latex.latex(page.tables(GOOD.assign(dataset="spar")))
    assert (
        found.count(r"\begin{table}")
        == found.count(r"\caption{")
        == len(set(re.findall(r"\\label{(.*?)}", found)))
        == 6
    )
    assert (
        r"95 \%" in found and "\u2020" not in found and not re.search(r"[^\\]%(?! Needs)", found.replace("% Needs", ""))
    )
    marked = latex.latex({"c": pd.DataFrame({"a_b": ["x \u2020"]}, index=["p <.001"])})
    assert r"a\_b" in marked and r"x \textdagger{}" in marked and r"p \textless{}.001" in marked
    assert references.used(GOOD.assign(dataset="spar")) == ["spar", "simclr", "finetune", "forest"]
    text = references.bibtex(["spar", "simclr"])
    assert list(re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE)) == [
        "otolith",
        "burns2018spar",
        "chen2020simclr",
        "tang2020contrastive",
    ]
    assert references.bibtex([]) == ""


def test_every_corpus_with_a_paper_has_its_entry() -> None:
    cited = {name for name, card in DATASETS.items() if card.cite != "-"}
    assert cited <= set(references.KEYS)
    assert {key for keys in references.KEYS.values() for key in keys} <= set(references.entries())
    for entry in references.entries().values():
        assert entry.count("{") == entry.count("}") and "author" in entry and "year" in entry


def test_equal_figures_give_equal_bytes() -> None:
    assert style.svg(figures.curve(GOOD)) == style.svg(figures.curve(GOOD))
