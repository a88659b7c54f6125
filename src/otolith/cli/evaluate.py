"""Commands that evaluate: evaluate, study, report, retrieve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from otolith.cli.console import _progress, app, console, out
from otolith.cli.data import _prepare
from otolith.cli.options import (
    ChangeOption,
    DataOption,
    JobsOption,
    OutOption,
    RecipeArgument,
    SeedOption,
    SharedOption,
    VariantOption,
    _run,
)
from otolith.cli.train import _pretrain

if TYPE_CHECKING:
    from otolith.experiments.run import Run


@app.command()
def evaluate(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    jobs: JobsOption = 0,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Also judge encoders that saw test people; their rows say so.")
    ] = False,
) -> None:
    """Run the protocol: folds by person x windows per class x seeds x modes, one row each."""
    _evaluate(_run(recipe, change, seed, run, data, shared, variant), jobs, allow_seen)


@app.command()
def study(
    recipe: Annotated[
        list[Path] | None, typer.Argument(help="Recipes with variants, such as recipes/dont-freeze/pamap2.toml.")
    ] = None,
    change: ChangeOption = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=DIR", help="Official files of a corpus that is not prepared yet."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Bring the official files of corpora that are not prepared yet.")
    ] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="The corpora's licences are accepted; otherwise a terminal asks.")
    ] = False,
    run: Annotated[Path, typer.Option("--out", help="Folder of the study: encoders, rows, page.")] = Path("runs/study"),
    data: DataOption = Path("data"),
    page: Annotated[
        Path | None, typer.Option("--page", help="The page. Default: study.md in the study's folder.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--table", help="All rows as CSV. Default: study.csv in the study's folder.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Results",
    jobs: JobsOption = 0,
    only_page: Annotated[
        bool, typer.Option("--only-page", help="Compute nothing: write the page from the rows that are there.")
    ] = False,
    read: Annotated[
        Path | None,
        typer.Option("--from", help="Compute nothing: write the page from a table that a study has written."),
    ] = None,
) -> None:
    """Run a whole experiment: prepare, pretrain and evaluate every variant of the recipes; a page with figure and answers.

    The questions are those of "Don't freeze", or of PRIMUS where an encoder was pretrained by it.

    One command a target of the paper: otolith study recipes/dont-freeze/pamap2.toml --source pamap2=DIR --source
    capture24=DIR. It takes hours to days on a GPU; interrupted, it goes on where it stopped.
    """
    from otolith.data.store import MANIFEST
    from otolith.experiments import study
    from otolith.reports.study import read_recalls, read_table, write, write_table

    runs = study.study(recipe or (), run, data, change or ())
    if not (runs or read):
        raise ValueError("no recipe given; for example: otolith study recipes/dont-freeze/pamap2.toml")
    if not (only_page or read):
        given = dict(_named(text) for text in source or ())
        wanted = dict.fromkeys(name for job in runs for name in (job.recipe.dataset, *job.recipe.pretrain_on))
        for name in wanted:
            if not (data / name / MANIFEST).exists():
                _prepare(name, given.get(name), data, jobs, download=download, accept_licence=accept_licence)
        for number, job in enumerate(runs):
            console.print(f"[bold]{number + 1}/{len(runs)}[/] {job.folder.name}", highlight=False)
            _pretrain(job)
            _evaluate(job, jobs)
            if job.can_retrieve:
                _retrieve(job)
    target = page or run / "study.md"
    rows, planned = read_table(read) if read else study.study_rows(runs)
    recalls = read_recalls(read) if read else study.study_recalls(runs)
    write_table(rows, planned, table or run / "study.csv", recalls)
    write(rows, planned, path=target, title=title, recalls=recalls)
    out.print(f"{target}: {len(rows):,} rows, {target.with_suffix('.svg').name}", highlight=False)


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise ValueError(f"cannot read --source {text}; expected NAME=DIR, such as pamap2=downloads/pamap2")
    return name, Path(folder)


@app.command()
def report(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
) -> None:
    """Gather the rows into rows.csv; write report.html and report.md: table, figures, findings in words."""
    job = _run(recipe, change, seed, run, data, shared, variant)
    _report(job)


@app.command()
def retrieve(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Also judge encoders that saw test people; their recalls say so.")
    ] = False,
) -> None:
    """Search people never seen in words and pictures, and back: recall at 1, 5 and 10 of every fold's encoder.

    Beside each recall stands what drawing by lot would give.
    """
    _retrieve(_run(recipe, change, seed, run, data, shared, variant), allow_seen)


def _evaluate(job: Run, jobs: int, allow_seen: bool = False) -> None:
    from joblib import cpu_count  # knows the limits of containers

    total, rows = job.evaluate(jobs=jobs or min(8, cpu_count()), allow_seen=allow_seen)
    with _progress() as bar:
        task = bar.add_task("evaluating", total=total)
        for row in rows:
            shots = "all" if row.shots is None else row.shots
            text = f"fold {row.fold} seed {row.seed} {row.mode} {shots}: macro F1 {row.macro_f1:.3f}"
            bar.update(task, advance=1, description=text)
    out.print(f"{job.folder / 'rows'}: {total} rows", highlight=False)


def _retrieve(job: Run, allow_seen: bool = False) -> None:
    table = Table(title="recall on people never seen (by lot)", box=None, pad_edge=False, header_style="bold")
    for name in ("fold", "search", "among", "at 1", "at 5", "at 10"):
        table.add_column(name, justify="left" if name == "search" else "right")
    for found in job.retrieve(allow_seen=allow_seen):
        for way, words, among in (
            ("there", f"motion -> {found.modality}", found.n_keys),
            ("back", f"{found.modality} -> motion", found.n_windows),
        ):
            cells = [f"{getattr(found, f'{way}_{k}'):.3f} ({getattr(found, f'{way}_{k}_lot'):.3f})" for k in (1, 5, 10)]
            table.add_row(str(found.fold), words, f"{among:,}", *cells)
    out.print(table)


def _report(job: Run, picture: bytes | None = None) -> None:
    from otolith.reports import findings

    path, rows = job.report(picture=picture)
    text = findings.table(rows)
    table = Table(title="macro F1 on people never seen, by labelled windows a class", box=None, pad_edge=False)
    table.add_column("")
    for column in text.columns:
        table.add_column(str(column), justify="right")
    for name, line in zip(text.index, text.to_numpy(), strict=True):
        table.add_row(str(name), *map(str, line))
    out.print(table)
    for sentence in findings.findings(rows):
        out.print(f"- {sentence}", highlight=False)
    out.print(f"\n[bold]report[/]  {path}", highlight=False)
