"""Pages in a real browser: where Chromium is, and what axe-core says of a page; a labelled recording to make a page of."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from otolith.apps.label.recording import Labelled
from otolith.apps.label.stream import Cells
from otolith.data.recording import ACCELEROMETER, Recording
from otolith.formats import Session, Source
from otolith.formats.gaps import Missing

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
in_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
HOUR = 3600.0
AXE = "axe.min.js"


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser of Playwright, which runs the machine's own Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: Any, path: Path, *, width: int = 1280, scheme: str = "light") -> Iterator[Any]:
    """A page in a window of this width and colour scheme; errors of its scripts fail the test."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert not errors


def violations(page: Any) -> list[tuple[str, str]]:
    """What axe-core finds, of any level: the rule and the first element that breaks it."""
    import axe_playwright_python

    page.evaluate((Path(axe_playwright_python.__file__).parent / AXE).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10  # it did look
    return [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]


def labelled_day() -> Labelled:
    """Two days from 22:00 on at 5 Hz: walking, a gap, unknown; 'not worn' at the end."""
    start = pd.Timestamp("2024-03-01 22:00").to_pydatetime()
    random = np.random.default_rng(0)
    pieces = [(0.0, 10 * HOUR), (11 * HOUR, 14 * HOUR)]
    recordings = tuple(
        Recording(
            f"day/{number}",
            random.normal(size=(int((stop - begin) * 5), 3)) * 0.1 + [0, 0, 1],
            5.0,
            ACCELEROMETER,
            "1",
            "own",
            start_s=begin,
            start=start,
        )
        for number, (begin, stop) in enumerate(pieces)
    )
    gaps = (Missing(10 * HOUR, 11 * HOUR, "no rows"), Missing(14 * HOUR, 26 * HOUR, "not worn"))
    source = Source("day", Path("day.csv"), ())
    session = Session("<day & night>", source, "", recordings, start, 26 * HOUR, 5.0, ACCELEROMETER, (), gaps)
    edges = np.concatenate([np.arange(0, 10 * HOUR), np.arange(11 * HOUR, 14 * HOUR)])
    number = (edges >= 11 * HOUR).astype(int)
    cells = Cells(edges, edges + 1, number, np.where(number, 0.6, 0.9))
    line = pd.DataFrame(
        {
            "start_s": [0.0, 10 * HOUR, 11 * HOUR, 14 * HOUR],
            "end_s": [10 * HOUR, 11 * HOUR, 14 * HOUR, 26 * HOUR],
            "label": ["walking", "", "unknown", ""],
            "probability": [0.9, np.nan, 0.6, np.nan],
            "reason": ["", "no rows", "", "not worn"],
        }
    )
    days = pd.DataFrame({"day": ["2024-03-01", "2024-03-02"], "walking": [120.0, 480.0]})
    warnings = ("55 % of it is unknown",)
    return Labelled(line, line, session, ("walking", "unknown"), cells, days, days, "unknown", warnings)
