"""Commands that train: pretrain, search, transfer, import-primus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from otolith.cli.command import command
from otolith.cli.console import notes, out
from otolith.cli.options import EngineOption, EngineOptions, EngineSetOption, RunOptions
from otolith.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otolith.evaluation.plan import FoldSeed
    from otolith.experiments.run import Log, Run


@command
def pretrain(
    options: RunOptions,
    everyone: Annotated[
        bool,
        typer.Option("--everyone", help="Pretrain one encoder on all people, for use; it cannot be evaluated on them."),
    ] = False,
    losses: Annotated[
        str,
        typer.Option("--losses", help="Losses by step in the run's folder logs: csv, tensorboard (an extra) or none."),
    ] = "csv",
) -> None:
    """Pretrain the recipe's encoder without labels, once for each group of training people.

    An encoder never sees the test people of its fold. On several devices: torchrun --nproc-per-node N -m otolith
    pretrain RECIPE.

    [bold]Example:[/] otolith pretrain motionsense-simclr --set pretrain.epochs=5
    """
    if losses not in ("csv", "tensorboard", "none"):
        raise ValueError(f"--losses is '{losses}'; expected csv, tensorboard or none")
    pretrain_run(options.open(), everyone=everyone, log=cast("Log", losses))


@command
def search(
    options: RunOptions,
    trials: Annotated[
        int, typer.Option("--trials", min=1, max=100_000, help="Trials to finish, over all processes.")
    ] = 20,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="An Optuna storage that several machines share: postgresql://..., sqlite:///FILE, or journal:FILE.",
            show_default="search.db in the run's folder",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="loss: the pretraining loss on validation people; transfer: the macro F1 on the corpus of --on.",
        ),
    ] = "loss",
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="CORPUS", help="Another prepared corpus with labels, for --by transfer."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", min=0, help="Processes that run trials; 0 starts one for each core, at most 8."),
    ] = 1,
    engine: EngineOption = "processes",
    engine_set: EngineSetOption = None,
) -> None:
    """Search the hyperparameters of pretraining with Optuna; write recipe-best.toml, search.csv, search.html and search.png.

    The recipe's section \\[search] names what is searched; without it, the ranges of "Don't freeze" are. Test people
    of the first fold are not used for model selection.

    [bold]Example:[/] otolith search motionsense-simclr --trials 50
    """
    from otolith.experiments import search_space
    from otolith.experiments.search import search as search_trials

    how: dict[str, Any] = {"storage": storage, "by": by, "on": on}
    job = options.open()
    with EngineOptions(jobs, engine, engine_set).workers() as workers, progress("searching") as bar:
        for trial in search_trials(job, trials=trials, jobs=workers, **how):
            text = f"trial {trial.number} {trial.state}: {search_space.in_words(trial.settings)}"
            if trial.step is not None:
                held = "" if trial.step.validation is None else f", validation {trial.step.validation:.3f}"
                loss = f", loss {sum(trial.step.losses.values()):.3f}" if trial.step.losses else ""
                text += f"; epoch {trial.step.epoch}{loss}{held}"
            elif not trial.done:
                bar.note(f"    {text}" + ("" if trial.value is None else f", {trial.value:.4f}"))
            bar.update(text, trial.finished, trials)
    best = job.folder / "recipe-best.toml"
    comments = [line for line in best.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    lines = [*(line.removeprefix("# ") for line in comments), str(best)]
    out.print("\n".join(lines), highlight=False, markup=False)


@command
def transfer(
    options: RunOptions,
    mode: Annotated[
        str, typer.Option("--mode", help="finetune, frozen, scratch, random-frozen, or an arm of the recipe.")
    ] = "finetune",
    shots: Annotated[
        int | None, typer.Option("--shots", min=1, help="Labelled windows per class.", show_default="all")
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option("--fold", min=0, help="Train on the training people of this fold.", show_default="all people"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="A checkpoint, shipped, or hub:USER/NAME.", show_default="the recipe's"),
    ] = None,
) -> None:
    """Fit a classifier on a pretrained encoder and save it for `otolith label`.

    [bold]Example:[/] otolith transfer motionsense-simclr --mode frozen
    """
    path = options.open().transfer(mode=mode, shots=shots, fold=fold, encoder=encoder)
    out.print(f"{path}\ntry: otolith label {path} YOUR.csv", highlight=False, markup=False)


@command
def import_primus(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The authors' best_model.ckpt (zenodo.org/records/15147513, 622 MB).")
    ],
    target: Annotated[Path, typer.Option("--out", help="The checkpoint to write.")] = Path("primus.safetensors"),
    any_hash: Annotated[
        bool, typer.Option("--any-hash", help="Accept other weights in the same layout: do not compare the SHA-256.")
    ] = False,
) -> None:
    """Convert the published weights of PRIMUS to an encoder for `otolith zeroshot` and `otolith adapt`.

    [bold]Example:[/] otolith import-primus best_model.ckpt --out primus.safetensors
    """
    from otolith.checkpoints import published

    with notes.status(f"reading {file}"):
        made = published.import_primus(file, target, sha256=None if any_hash else published.PRIMUS_SHA256)
    out.print(
        f"{target}: encoder primus, heads {', '.join(sorted(made.heads))}, {target.stat().st_size / 1e6:.1f} MB\n"
        f"{made.about['licence']}; please cite: {made.about['cite']}",
        highlight=False,
        markup=False,
    )


def pretrain_run(job: Run, *, everyone: bool = False, of: Sequence[FoldSeed] | None = None, log: Log = "csv") -> None:
    """Pretrain the encoders of a run that are missing, or those for some folds and seeds only, with a progress bar."""
    if int(os.environ.get("RANK", "0")):  # of several processes, the first one tells
        for _ in job.pretrain(everyone=everyone, of=of, log=log):
            pass
        return
    with progress("pretraining") as bar:
        current, held = "", ""
        for number, count, name, step in job.pretrain(everyone=everyone, of=of, log=log):
            if name != current:
                current, held = name, ""
            if step.validation is not None:
                held = f", validation {step.validation:.3f}"
            loss = f"loss {sum(step.losses.values()):.3f}" if step.losses else ""
            text = f"{name} ({number}/{count}) epoch {step.epoch} {loss}{held}, {step.windows_per_s:,.0f} windows/s"
            if step.done:
                bar.finish(f"{text}, {step.seconds:.0f} s", task=name)
            else:
                bar.update(text, step.index, step.of, task=name)
    folder = job.encoders
    out.print(f"{folder}: {len(list(folder.glob('*.safetensors')))} encoders", highlight=False, markup=False)
