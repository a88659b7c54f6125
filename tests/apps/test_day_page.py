"""The page of a labelled recording, in a browser without a network."""

import html
import json
import re
import subprocess
from pathlib import Path

import pytest

from otolith.apps.label.page import MOST_BINS, page
from otolith.apps.label.recording import Labelled
from pages import BROWSER, HOUR, in_browser, labelled_day


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    return labelled_day()


@pytest.fixture(scope="module")
def text(labelled: Labelled) -> str:
    return page(labelled)


def browsed(text: str, folder: Path, script: str = "", fragment: str = "", width: int = 1200) -> dict[str, str]:
    """The page's texts after its own script, and `script`, have run in a window of this width."""
    after = f"<script>{script}</script>" if script else ""
    (folder / "page.html").write_text(text.replace("</body>", f"{after}</body>"), encoding="utf-8")
    url = (folder / "page.html").as_uri() + fragment
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-extensions"]
    words += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=4000"]
    done = subprocess.run(
        [str(BROWSER), *words, "--dump-dom", url], capture_output=True, text=True, timeout=120, check=True
    )
    found = {
        name: html.unescape(re.sub("<[^>]*>", "", inner))
        for _, name, inner in re.findall(r'<(p|ul|span)\b[^>]*\bid="(\w+)"[^>]*>(.*?)</\1>', done.stdout, re.DOTALL)
    }
    return {**found, "ready": str('data-ready="yes"' in done.stdout), "dom": done.stdout}


def test_the_page_needs_no_network_and_stays_small(text: str) -> None:
    assert not re.search(r"https?://|<link|<img|@import|\bsrc=|fetch\(|XMLHttpRequest", text)
    assert "default-src 'none'" in text
    assert "&lt;day &amp; night&gt;" in text and "<day & night>" not in text.split("<script")[0]
    assert "55 % of it is unknown" in text
    assert len(text) < 2_000_000


def test_the_signal_is_thinned_to_its_lowest_and_highest_values(labelled: Labelled, text: str) -> None:
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert sum(len(piece["values"]) for piece in data["signal"]["pieces"]) <= 8 * (MOST_BINS + 2)
    assert data["offset"] == 22 * HOUR and data["day"] == "2024-03-01"
    assert data["gaps"] == [[10 * HOUR, 11 * HOUR, "no rows"], [14 * HOUR, 26 * HOUR, "not worn"]]


@in_browser
def test_ribbons_of_24_h_and_the_legend_are_drawn(text: str, tmp_path: Path) -> None:
    script = """
    const ink = [...document.querySelectorAll("canvas")].map(c => {
      const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      const seen = new Set(); for (let k = 0; k < data.length; k += 4) seen.add(data[k] + "," + data[k+1] + "," + data[k+2]);
      return seen.size; });
    document.title = document.querySelectorAll(".ribbon").length + " ribbons, ink " + ink.every(n => n > 3);
    """
    found = browsed(text, tmp_path, script)
    assert found["ready"] == "True"
    assert "<title>2 ribbons, ink true</title>" in found["dom"]  # 1 and 2 March
    for words in ("walking10 h 00 min", "unknown3 h 00 min", "not worn12 h 00 min", "missing1 h 00 min"):
        assert words in found["legend"]


@in_browser
@pytest.mark.parametrize(
    ("hour", "expected"),
    [(1, "2024-03-01 23:00:00  walking  probability 0.90"), (12, "2024-03-02 10:00:00  unknown  probability 0.60"),
     (10.5, "2024-03-02 08:30:00  no rows"), (20, "2024-03-02 18:00:00  not worn")],
)  # fmt: skip
def test_hovering_shows_time_and_probability(text: str, tmp_path: Path, hour: float, expected: str) -> None:
    script = f"""
    const view = document.getElementById("view"), box = view.getBoundingClientRect();
    view.dispatchEvent(new PointerEvent("pointermove",
      {{ pointerId: 1, clientX: box.left + 40 + {hour} / 26 * (box.width - 40) + .01, bubbles: true }}));
    """
    found = browsed(text, tmp_path, script)
    assert found["readout"].replace("10:00:01", "10:00:00")[:16] == expected[:16]
    assert found["readout"].split("  ", 1)[1] == expected.split("  ", 1)[1]


@in_browser
def test_zoom_by_buttons_wheel_and_two_fingers(text: str, tmp_path: Path) -> None:
    assert browsed(text, tmp_path)["range"].endswith("(26 h 00 min)")
    click = 'document.getElementById("in").click(); document.getElementById("in").click();'
    assert browsed(text, tmp_path, click)["range"].endswith("(6 h 30 min)")
    wheel = """document.getElementById("view").dispatchEvent(
      new WheelEvent("wheel", { deltaY: -60, clientX: 600, bubbles: true, cancelable: true }));"""
    assert not browsed(text, tmp_path, wheel)["range"].endswith("(26 h 00 min)")
    fingers = """
    const v = document.getElementById("view"), box = v.getBoundingClientRect();
    const touch = (kind, id, x) => v.dispatchEvent(
      new PointerEvent(kind, { pointerId: id, pointerType: "touch", clientX: box.left + x, bubbles: true }));
    touch("pointerdown", 1, 200); touch("pointerdown", 2, 300); touch("pointermove", 2, 400);
    """
    assert browsed(text, tmp_path, fingers)["range"].endswith("(13 h 00 min)")
    assert browsed(text, tmp_path, fragment="#t=3600-7200")["range"].startswith("2024-03-01 23:00:00 ")


@in_browser
def test_nothing_is_wider_than_a_phone(text: str, tmp_path: Path) -> None:
    script = 'document.title = "width " + innerWidth + " content " + document.documentElement.scrollWidth;'
    dom = browsed(text, tmp_path, script, width=390)["dom"]
    width, content = map(int, re.search(r"<title>width (\d+) content (\d+)", dom).groups())
    assert content <= width <= 520
