"""Commands that evaluate: evaluate, report, study, retrieve, rerun."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from otolith.cli.command import command
from otolith.cli.console import escape, notes, out, put_json, results
from otolith.cli.data import prepare_corpus
from otolith.cli.options import ChangeOption, DataOption, DownloadOptions, EngineOptions, JsonOption, RunOptions
from otolith.cli.progress import progress
from otolith.cli.train import pretrain_run

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

    from otolith.experiments.run import Run

AllowSeenOption = Annotated[
    bool, typer.Option("--allow-seen", help="Also evaluate encoders that saw test people; the results say so.")
]


@command
def evaluate(options: RunOptions, engine: EngineOptions, allow_seen: AllowSeenOption = False) -> None:
    """Evaluate: subject-wise cross-validation x labels per class x seeds x methods; one result row each.

    [bold]Example:[/] otolith evaluate motionsense-simclr --jobs 4
    """
    evaluate_run(options.open(), engine, allow_seen)


@command
def report(
    options: RunOptions,
    as_json: JsonOption = False,
    latex: Annotated[
        bool,
        typer.Option("--latex", help="Also write the tables as tables.tex, and what to cite as references.bib."),
    ] = False,
) -> None:
    """Gather the result rows into rows.csv and write report.html and report.md: table, figures and findings in words.

    [bold]Example:[/] otolith report motionsense-simclr
    """
    report_run(options.open(), as_json=as_json, latex=latex)


@command
def study(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE",
            help="Recipes; a name that ends in a slash, such as few-shot/proof/, means all inside.",
        ),
    ] = None,
    change: ChangeOption = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=DIR", help="Official files of a corpus that is not prepared yet."),
    ] = None,
    run: Annotated[Path, typer.Option("--out", help="Folder of the study: encoders, rows, page.")] = Path("runs/study"),
    data: DataOption = Path("data"),
    page: Annotated[
        Path | None, typer.Option("--page", help="The page.", show_default="study.md in the study's folder")
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--table", help="All rows as CSV.", show_default="study.csv in the study's folder")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "Results",
    only_page: Annotated[
        bool, typer.Option("--only-page", help="Compute nothing: write the page from the rows that exist.")
    ] = False,
    read: Annotated[
        Path | None,
        typer.Option("--from", help="Compute nothing: write the page from a table that a study has written."),
    ] = None,
    latex: Annotated[
        bool,
        typer.Option("--latex", help="Also write the page's tables as .tex, and what to cite as .bib, next to it."),
    ] = False,
    *,
    engine: EngineOptions,
    download: DownloadOptions,
) -> None:
    """Run a whole experiment: prepare, pretrain and evaluate all variants of the recipes; write a page of answers.

    The questions are those of "Don't freeze", or those of PRIMUS if PRIMUS pretrained an encoder. The experiment takes
    hours to days on a GPU; interrupted, it continues where it stopped.

    [bold]Example:[/] otolith study dont-freeze/pamap2 --source pamap2=DIR --source capture24=DIR
    """
    from otolith.data.store import MANIFEST
    from otolith.experiments import study as studies
    from otolith.experiments.shipped import find_shipped_group
    from otolith.reports.study import read_recalls, read_table, write, write_table
    from otolith.storage.remote import exists

    runs = studies.study([path for name in recipes or () for path in find_shipped_group(name)], run, data, change or ())
    if not (runs or read):
        raise ValueError("no recipe given; for example: otolith study dont-freeze/pamap2")
    if not (only_page or read):
        given = dict(_named(text) for text in source or ())
        wanted = dict.fromkeys(name for job in runs for name in (job.recipe.dataset, *job.recipe.pretrain_on))
        for name in wanted:
            if not exists(data / name / MANIFEST):
                prepare_corpus(name, given.get(name), data, engine, download)
        for number, job in enumerate(runs):
            notes.print(f"[bold]{number + 1}/{len(runs)}[/] {escape(job.folder.name)}", highlight=False)
            pretrain_run(job)
            evaluate_run(job, engine)
            if job.can_retrieve:
                retrieve_run(job)
    target = page or run / "study.md"
    rows, planned = read_table(read) if read else studies.study_rows(runs)
    recalls = read_recalls(read) if read else studies.study_recalls(runs)
    csv = table or run / "study.csv"
    write_table(rows, planned, csv, recalls)
    link = Path(os.path.relpath(csv, target.parent)).as_posix()
    write(rows, planned, path=target, title=title, rows_link=link, recalls=recalls, latex=latex)
    suffixes = (".html", ".svg", *((".tex", ".bib") if latex else ()))
    others = ", ".join(target.with_suffix(suffix).name for suffix in suffixes)
    out.print(f"{target}: {len(rows):,} rows, {others}", highlight=False, markup=False)


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise ValueError(f"cannot read --source {text}; expected NAME=DIR, such as pamap2=downloads/pamap2")
    return name, Path(folder)


@command
def retrieve(options: RunOptions, allow_seen: AllowSeenOption = False) -> None:
    """Cross-modal retrieval on held-out subjects: recall@1/5/10, IMU -> text/video and back, with the chance level.

    [bold]Example:[/] otolith retrieve primus/utd-mhad --variant primus
    """
    retrieve_run(options.open(), allow_seen)


@command
def rerun(
    row: Annotated[
        str, typer.Argument(metavar="ROW", help="TABLE.csv#FINGERPRINT, or the table alone and the row's number.")
    ],
    number: Annotated[int | None, typer.Argument(metavar="[NUMBER]", help="Of the row in the table, from 1.")] = None,
    data: DataOption = Path("data"),
    folder: Annotated[Path, typer.Option("--out", help="Folder for the row's encoder, which is kept.")] = Path(
        "runs/rerun"
    ),
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe that made the row, for rows that do not hold it.")
    ] = None,
    variant: Annotated[str | None, typer.Option("--variant", help="Its variant; needs --recipe.")] = None,
    change: ChangeOption = None,
) -> None:
    """Make a committed result row again from the row alone, and say whether it is the same to the bit.

    The row holds its recipe; the corpora must be prepared. The encoder that it needs is pretrained first. Exit code 1 means
    that the row differs. Other code, another version of torch or another machine can be the reason, and are named.

    [bold]Example:[/] otolith rerun results/few-shot.csv#1f3a9c --data data
    """
    from otolith.experiments import recipe as recipes
    from otolith.experiments import rerun as reruns

    if recipe is None and (variant or change):
        raise ValueError(
            "--variant and --set change the recipe that --recipe names; the row's own recipe is used as it is"
        )
    committed = reruns.find_row(row, number)
    given = None if recipe is None else recipes.load(recipe, change or (), variant=variant)
    job = reruns.rerun(committed, data, folder, given)
    pretrain_run(job.run, of=[job.unit])
    again = job.again()
    results, made_by = reruns.differences(committed, again)
    for each in made_by:
        notes.print(f"{each.column}: {each.committed}, now {each.again}", highlight=False, markup=False)
    for each in results:
        out.print(f"{each.column}: {each.committed}, again {each.again}", highlight=False, markup=False)
    verdict = f"differs in {', '.join(each.column for each in results)}" if results else "is the same to the bit"
    out.print(f"{committed}: macro F1 {again.macro_f1:.6f}; made again, it {verdict}", highlight=False, markup=False)
    if results:
        raise typer.Exit(1)


def evaluate_run(job: Run, engine: EngineOptions, allow_seen: bool = False) -> None:
    """Compute the result rows of a run that are missing, with a progress bar."""
    with engine.workers() as workers, progress("evaluating") as bar:
        total, rows = job.evaluate(jobs=workers, allow_seen=allow_seen)
        for done, row in enumerate(rows):
            shots = "all" if row.shots is None else row.shots
            text = f"fold {row.fold} seed {row.seed} {row.mode} {shots}: macro F1 {row.macro_f1:.3f}"
            bar.update(text, done + 1, total)
    out.print(f"{job.folder / 'rows'}: {total} rows", highlight=False, markup=False)


def retrieve_run(job: Run, allow_seen: bool = False) -> None:
    """Compute the recalls of a run that are missing, and show all of them."""
    from otolith.evaluation.retrieval import RECALL_AT

    table = Table(title="recall on held-out subjects (chance level)", box=None, pad_edge=False, header_style="bold")
    for name in ("fold", "direction", "candidates", "recall@1", "recall@5", "recall@10"):
        table.add_column(name, justify="left" if name == "direction" else "right")
    for found in job.retrieve(allow_seen=allow_seen):
        for way, direction, candidates in (
            ("imu_to_paired", f"IMU -> {found.modality}", found.n_keys),
            ("paired_to_imu", f"{found.modality} -> IMU", found.n_windows),
        ):
            recalls = [(getattr(found, f"{way}_r{k}"), getattr(found, f"{way}_chance_r{k}")) for k in RECALL_AT]
            cells = [f"{value:.3f} ({chance:.3f})" for value, chance in recalls]
            table.add_row(str(found.fold), direction, f"{candidates:,}", *cells)
    out.print(table)


def report_run(job: Run, picture: Markup | None = None, *, as_json: bool = False, latex: bool = False) -> None:
    """Write the report of a run and show its table and findings.

    Args:
        job: the run.
        picture: a figure for the report's page.
        as_json: also write everything as JSON to standard output; words go to standard error.
        latex: also write the tables as LaTeX, and BibTeX of what was used.
    """
    from otolith.experiments.report import report as write_report
    from otolith.reports import findings

    path, rows = write_report(job, picture=picture, latex=latex)
    sentences = findings.findings(rows)
    if as_json:
        put_json(_report_document(job, path, rows, sentences))
    screen, text = results(as_json), findings.table(rows)
    table = Table(title="macro F1 on held-out subjects, by labelled windows per class", box=None, pad_edge=False)
    table.add_column("")
    for column in text.columns:
        table.add_column(str(column), justify="right")
    for name, line in zip(text.index, text.to_numpy(), strict=True):
        table.add_row(str(name), *map(str, line))
    screen.print(table)
    for sentence in sentences:
        screen.print(f"- {sentence}", highlight=False, markup=False)
    screen.print(f"\n[bold]report[/]  {escape(str(path))}", highlight=False)


def _report_document(job: Run, path: Path, rows: pd.DataFrame, sentences: list[str]) -> dict[str, Any]:
    from otolith.evaluation.statistics import summary

    return {
        "recipe": job.recipe.name,
        "report": path,
        "rows": {"file": job.folder / "rows.csv", "count": len(rows)},
        "summary": summary(rows).to_dict(orient="records"),
        "findings": sentences,
    }
