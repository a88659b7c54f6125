"""Every kind of page in a browser: axe-core finds nothing, in light and dark, on a desktop and on a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_page import GOOD
from test_study import primus_rows

from otolith.apps.adapt import page as estimate_page
from otolith.apps.adapt.estimate import choose, leave_people_out
from otolith.apps.label import picture
from otolith.apps.label.page import page as day_page
from otolith.data.windows import Windows
from otolith.datasets import DATASETS
from otolith.experiments.search_page import search_page
from otolith.reports import figures, page, study
from pages import chromium, in_browser, labelled_day, opened, violations

pytestmark = in_browser
KINDS = ("report", "study", "recording", "estimate", "search")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, windows: Windows) -> Path:
    """A folder with a page of each kind."""
    made, day = tmp_path_factory.mktemp("pages"), labelled_day()
    embedding = figures.Embedding.of(windows.array().flatten(1), windows, at_most=60)
    page.write(
        made / "report.html",
        GOOD.assign(test_seen_in_pretraining=True, dataset="spar"),
        title="A report",
        card=DATASETS["spar"],
        recipe='name = "x"',
        embedding=embedding,
        history=[[1, 2.0, 2.5], [2, 1.5, 2.2]],
        picture=picture(day, truth=[(0.0, 60.0, "walking")]),
    )
    rows = primus_rows(("spar",))
    study.write(rows, {("spar", "primus"): 9}, path=made / "study.md", title="A study", rows_link="rows.csv")
    (made / "recording.html").write_text(day_page(day, "day.timeline.csv"), encoding="utf-8")
    guess = np.where(np.arange(len(windows)) % 5, windows.y, 0)
    choice = choose(windows, leave_people_out(windows, 0), {"encoder": windows.y, "forest": guess})
    (made / "estimate.html").write_text(estimate_page.page(choice, windows, "estimate.csv"), encoding="utf-8")
    trials = pd.DataFrame(
        {
            "number": range(4),
            "state": ["complete", "pruned", "complete", "fail"],
            "value": [2.0, 3.0, 1.0, None],
            "pretrain.lr": [1e-3, 1e-2, 1e-4, 1e-3],
            "encoder.name": ["tpn", "strided", "tpn", "tpn"],
        }
    )
    space = {"pretrain.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "encoder.name": ["tpn", "strided"]}
    text = search_page(trials, space, "validation loss", ["Trial 2 is the best."], 'name = "x"', lower=True)
    (made / "search.html").write_text(text, encoding="utf-8")
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_violated_or_wider_than_the_window(browser: Any, folder: Path, kind: str, width: int) -> None:
    backgrounds = set()
    for scheme in ("light", "dark"):
        with opened(browser, folder / f"{kind}.html", width=width, scheme=scheme) as shown:
            for closed in shown.query_selector_all("details"):
                closed.evaluate("each => { each.open = true; }")
            assert violations(shown) == []
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            backgrounds.add(shown.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


def test_figures_follow_the_theme_and_fill_a_phone(browser: Any, folder: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        with opened(browser, folder / "report.html", width=390, scheme=scheme) as shown:
            script = "[...document.querySelectorAll('figure svg text')].map(each => getComputedStyle(each).fill)"
            colours[scheme] = set(shown.evaluate(script))
            boxes = shown.evaluate(
                "[...document.querySelectorAll('figure svg')].map(each => each.getBoundingClientRect())"
                ".map(box => [box.left, box.width])"
            )
    assert colours["light"] == {"rgb(28, 28, 28)"} and colours["dark"] == {"rgb(232, 232, 232)"}
    assert len(boxes) >= 10 and all(left < 20 and width > 340 for left, width in boxes)  # one in a row, at full width


def test_terms_are_one_click_away(browser: Any, folder: Path) -> None:
    with opened(browser, folder / "report.html") as shown:
        shown.click("header a:text-is('macro F1')")
        assert shown.evaluate("document.querySelector(':target').textContent") == "macro F1"
