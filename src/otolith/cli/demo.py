"""The command demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otolith.cli.command import command
from otolith.cli.console import notes, out
from otolith.cli.evaluate import evaluate_run, report_run
from otolith.cli.options import JobsOption
from otolith.cli.train import pretrain_run


@command
def demo(
    run: Annotated[Path, typer.Option("--out", help="Folder for everything the demo writes.")] = Path("runs/demo"),
    seed: Annotated[int | None, typer.Option("--seed", help="Random seed; overrides the recipe.")] = None,
    jobs: JobsOption = 0,
) -> None:
    """Run the main job on real data: pretrain, compare, report, and label the recording of a person never seen.

    SPAR: 10 people, 7 shoulder exercises, a smartwatch; it ships in the package seglearn. A few minutes on two cores.

    [bold]Example:[/] otolith demo
    """
    from otolith.apps import label
    from otolith.apps.demo import held_out_session
    from otolith.datasets import prepare
    from otolith.experiments import recipe
    from otolith.experiments import run as runs
    from otolith.formats import table

    data = run / "data"
    notes.print("[bold]1/5[/] prepare SPAR: 10 people, 7 shoulder exercises, wrist, 50 Hz", highlight=False)
    for _ in prepare.prepare_dataset("spar", None, data):
        pass
    job = runs.Run(recipe.load("demo", seed=seed), run, data)
    notes.print("[bold]2/5[/] pretrain without labels, once per fold, never on its test people", highlight=False)
    pretrain_run(job)
    notes.print(
        "[bold]3/5[/] compare the few-shot head, frozen, fine-tuned, from scratch and a random forest on held-out people",
        highlight=False,
    )
    evaluate_run(job, jobs)
    notes.print(
        "[bold]4/5[/] fit a classifier with 50 windows per class; label a recording of a held-out person",
        highlight=False,
    )
    model = job.transfer(shots=50, fold=0)
    file, truth = held_out_session(job, fold=0)
    labelled = label.label_file(model, file, run, columns=table.Columns(), truth=truth)
    for note in labelled.read.notes:
        notes.print(f"    {note}", highlight=False)
    notes.print("[bold]5/5[/] report", highlight=False)
    report_run(job, picture=label.picture(labelled, truth=truth))
    out.print(
        f"\n[bold]model[/]   {model}\n[bold]labels[/]  {run / file.stem}.timeline.csv, .png\n\n"
        "[bold]What to try next[/]\n"
        f"  your own recording (a CSV with time, x, y, z):  otolith label {model} YOUR.csv\n"
        "  a larger corpus, MotionSense (24 people):       otolith prepare motionsense --source DIR\n"
        "                                                  otolith pretrain motionsense-simclr",
        highlight=False,
    )
