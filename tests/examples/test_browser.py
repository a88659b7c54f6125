"""The page of examples/browser labels a CSV file in Chromium as Python does, and can be read on a phone."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from otolith.apps.export import export, load_model
from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.encoders import Strided

pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium is installed"),
    pytest.mark.skipif(
        not (EXAMPLES / "browser" / "node_modules" / "axe-core").is_dir(),
        reason="the packages of the page are not installed: npm ci --prefix examples/browser",
    ),
]


@pytest.fixture(scope="module")
def files(windows: Windows, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a forest, both as ONNX files, and a recording at another rate, in m/s^2 and deg/s."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    few = windows.few_shot(10, seed=0)
    settings: dict[str, Any] = {"head": {"n_augmented_copies": 1, "self_training_rounds": 1}}
    model = TransferClassifier.from_arguments(settings, Strided.for_windows(windows)).fit(few)
    model.save(folder / "model.safetensors", label_names=windows.label_names)
    ForestClassifier(trees=5).fit(few).save(folder / "forest.safetensors", label_names=windows.label_names)
    for name in ("model", "forest"):
        export(folder / f"{name}.safetensors", folder / f"{name}.onnx")
    first = {entry.spans[0][2]: entry for entry in reversed(store.entries)}  # a recording of each class
    signal = np.concatenate([store.signal(entry)[:512] for entry in first.values()])
    table = pd.DataFrame(signal, columns=["x", "y", "z", "gx", "gy", "gz"])
    table[["x", "y", "z"]] *= 9.80665
    table[["gx", "gy", "gz"]] *= 180 / np.pi
    table.assign(time=np.arange(len(table)) / 60).to_csv(folder / "monday.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a plain file server shows the page."""
    handler = functools.partial(Silent, directory=str(EXAMPLES / "browser"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Silent(http.server.SimpleHTTPRequestHandler):
    """A file server that says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        words = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=BROWSER, args=words)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(chromium: Any, address: str, **settings: Any) -> Iterator[Any]:
    """A page without errors that asks no other server for anything."""
    page = chromium.new_context(**settings).new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda request: problems.extend([request.url] * (not request.url.startswith((address, "blob:", "data:")))),
    )
    page.set_default_timeout(120_000)
    page.goto(address)
    yield page
    page.context.close()
    assert not problems


def drop(page: Any, *paths: Path) -> None:
    """Drop files on the page, as a mouse would."""
    given = [{"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()} for path in paths]
    transfer = page.evaluate_handle(
        """files => {
          const transfer = new DataTransfer();
          for (const { name, content } of files)
            transfer.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
          return transfer;
        }""",
        given,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def labelled(page: Any) -> list[tuple[float, float, str, float]]:
    """The timeline that the page's button saves."""
    page.wait_for_selector("#result:not([hidden]), #error:not([hidden])")
    assert page.locator("#error").is_hidden(), page.locator("#error").inner_text()
    with page.expect_download() as download:
        page.click("#save")
    return rows(Path(download.value.path()).read_text(encoding="utf-8"))


def rows(text: str) -> list[tuple[float, float, str, float]]:
    lines = [line.split(",") for line in text.splitlines()]
    assert lines[0] == ["start_s", "end_s", "label", "probability"]
    return [(float(start), float(end), label, float(likely)) for start, end, label, likely in lines[1:]]


def test_a_dropped_file_gets_the_labels_that_python_gives(chromium: Any, address: str, files: Path) -> None:
    units = ["--acc-unit", "m/s2", "--gyro-unit", "deg/s"]
    with opened(chromium, address) as page:
        for name in ("model", "forest"):
            words = [sys.executable, EXAMPLES / "onnx" / "label.py", f"{name}.onnx", "monday.csv", *units]
            expected = rows(subprocess.run(words, cwd=files, capture_output=True, text=True, check=True).stdout)
            assert len({label for _, _, label, _ in expected}) == 3
            drop(page, files / f"{name}.onnx", files / "monday.csv")
            page.get_by_text(f"{name}.onnx: ").wait_for()
            page.get_by_text("12 windows in").wait_for()
            found = labelled(page)
            assert "acc in m/s2, gyro in deg/s" in page.locator("#status").inner_text()  # guessed from the values
            assert [row[:3] for row in found] == [row[:3] for row in expected]
            np.testing.assert_allclose([row[3] for row in found], [row[3] for row in expected], atol=2e-3)
            known = load_model(files / f"{name}.safetensors").classes_  # type: ignore[union-attr]
            assert {row[2] for row in found} <= set(map(str, known))


def test_on_a_phone_nothing_is_wider_than_the_screen(chromium: Any, address: str, files: Path) -> None:
    with opened(chromium, address, viewport={"width": 390, "height": 844}) as page:
        page.set_input_files("#model", files / "model.onnx")
        page.wait_for_selector("#facts:not(:empty)")
        page.set_input_files("#recording", files / "monday.csv")
        assert len(labelled(page)) == page.locator("#rows tr").count()
        page.hover("#plot svg", position={"x": 60, "y": 60})
        assert "probability" in page.locator("#readout").inner_text()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, paper.strip("rgb()").split(","))) < 200) == (scheme == "dark")
            assert violations(page) == []


def violations(page: Any) -> list[str]:
    """What axe-core finds wrong, of any level."""
    if not page.evaluate("'axe' in window"):
        page.evaluate((EXAMPLES / "browser" / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]


HEADER = b"time,x,y,z,gx,gy,gz\n"


def test_what_cannot_be_labelled_is_said(chromium: Any, address: str, files: Path, tmp_path: Path) -> None:
    cases = [
        ("broken.onnx", b"\xff" * 40, "this is not an ONNX file"),
        ("other.onnx", b"", "the file states no classes; expected a model that 'otolith export' wrote"),
        ("bare.csv", b"1,2,3\n1,2,3\n1,2,3\n", "the first line holds numbers; expected a header"),
        ("model.onnx", (files / "model.onnx").read_bytes(), ""),
        ("words.csv", HEADER + b"0,a,0,1,0,0,0\n1,1,0,1,0,0,0\n", "column x holds 'a'; expected a number"),
        ("short.csv", HEADER + b"0,0,0,1,0,0,0\n0.02,1,0,1,0,0,0\n", "lasts 0.0 s; a window lasts 2 s"),
        ("back.csv", HEADER + b"1,0,0,1,0,0,0\n0.5,1,0,1,0,0,0\n", "the times in column time do not increase"),
    ]
    with opened(chromium, address) as page:
        for name, content, message in cases:
            (tmp_path / name).write_bytes(content)
            drop(page, tmp_path / name)
            if not message:
                page.wait_for_selector("#facts:not(:empty)")
                continue
            page.get_by_text(message).wait_for()
            assert page.locator("#result").is_hidden()
