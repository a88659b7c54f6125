"""The command demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otolith.cli.command import command
from otolith.cli.console import escape, notes, out
from otolith.cli.evaluate import evaluate_run, report_run
from otolith.cli.labelled import show_labelled
from otolith.cli.options import EngineOptions
from otolith.cli.train import pretrain_run
from otolith.cli.use import adapt_and_show


@command
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything the demo writes.")] = Path("runs/demo"),
    seed: Annotated[int | None, typer.Option("--seed", help="Random seed; overrides the recipe.")] = None,
    *,
    engine: EngineOptions,
) -> None:
    """Run the whole method on real recordings: pretrain, compare, adapt, label held-out people's recordings, report.

    The recordings are SPAR (10 people, 7 shoulder exercises, a smartwatch), which ships in the package seglearn. It takes a
    few minutes on two cores.

    [bold]Example:[/] otolith demo
    """
    from otolith.apps import label
    from otolith.apps.demo import write_files
    from otolith.classifiers.baselines import load_classifier
    from otolith.datasets.prepare import prepare_dataset
    from otolith.experiments.recipe import load
    from otolith.experiments.run import Run

    data = folder / "data"
    _step(1, "prepare SPAR: 10 people, 7 shoulder exercises, wrist, 50 Hz")
    for _ in prepare_dataset("spar", None, data):
        pass
    job = Run(load("demo", seed=seed), folder, data)
    _step(2, "pretrain without labels, once per fold, never on its test people")
    pretrain_run(job)
    _step(3, "compare on held-out people, with few labelled windows per class")
    evaluate_run(job, engine)
    _step(4, "adapt: recordings and a labels file become a model, with an estimate for new people")
    files = write_files(job, fold=0)
    encoder = job.encoder_path(next(planned for planned in job.plan(job.windows()) if planned.split.fold == 0))
    command_line = f"otolith adapt {encoder} --recordings {files.recordings} --labels {files.labels} --out {folder}"
    notes.print(f"    {escape(command_line)}", highlight=False, soft_wrap=True)
    model = adapt_and_show(encoder, files.recordings, files.labels, folder, seed=seed or 0, engine=engine)
    _step(5, "label the recordings of people whom neither the encoder nor the labels know; report")
    classifier = load_classifier(model)
    for file, truth in files.held_out.items():
        notes.print(f"    otolith label {model} {file}", highlight=False, markup=False, soft_wrap=True)
        labelled = next(label.label_recordings(classifier, [file], folder, truth=truth))
        show_labelled(label.document(labelled))
    report_run(job, picture=label.picture(labelled, truth=truth))
    out.print(
        "\n[bold]What to try next[/]\n"
        f"  a recording of your own (CSV with time, x, y, z):  otolith label {model} YOUR.csv\n"
        "  labels of your own:                                otolith adapt --help\n"
        "  a larger corpus, MotionSense (24 people):          otolith prepare motionsense --source DIR\n"
        "                                                     otolith pretrain motionsense-simclr",
        highlight=False,
    )


def _step(number: int, text: str) -> None:
    notes.print(f"[bold]{number}/5[/] {escape(text)}", highlight=False)
