"""Commands that train: pretrain, search, transfer, import-primus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otolith.cli.console import _plain, _progress, app, console, out
from otolith.cli.options import (
    ChangeOption,
    DataOption,
    OutOption,
    RecipeArgument,
    SeedOption,
    SharedOption,
    VariantOption,
    _run,
)

if TYPE_CHECKING:
    from otolith.experiments.run import Run


@app.command()
def pretrain(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    everyone: Annotated[
        bool, typer.Option("--everyone", help="One encoder on all people, for use; not for scores on this corpus.")
    ] = False,
) -> None:
    """Pretrain the recipe's encoder without labels: once for each group of training people.

    The people of a fold's test are never seen by its encoder. Several devices: torchrun --nproc-per-node N -m otolith
    pretrain RECIPE.
    """
    _pretrain(_run(recipe, change, seed, run, data, shared, variant), everyone=everyone)


@app.command()
def search(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials to finish, of all processes together.")] = 20,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="An Optuna storage for many machines. Default: search.db in the run's folder."
        ),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="loss: the pretext's, on validation people; transfer: macro F1 on --on.")
    ] = "loss",
    on: Annotated[
        str | None, typer.Option("--on", metavar="CORPUS", help="A further prepared corpus with labels, to judge on.")
    ] = None,
) -> None:
    """Search the settings of pretraining: trials drawn by Optuna; writes recipe-best.toml, search.csv, search.png.

    Searches what the recipe's section \\[search] names, else the paper's ranges. The first fold's test people have no say.
    """
    _search(_run(recipe, change, seed, run, data, shared, variant), trials=trials, storage=storage, by=by, on=on)


@app.command()
def transfer(
    recipe: RecipeArgument,
    change: ChangeOption = None,
    seed: SeedOption = None,
    run: OutOption = None,
    variant: VariantOption = None,
    shared: SharedOption = None,
    data: DataOption = Path("data"),
    mode: Annotated[
        str, typer.Option("--mode", help="finetune, frozen, scratch, random-frozen, or an arm of the recipe.")
    ] = "finetune",
    shots: Annotated[
        int | None,
        typer.Option("--shots", min=1, help="Labelled windows a class; default: all."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option("--fold", min=0, help="Train on this fold's training people only; default: on everybody."),
    ] = None,
) -> None:
    """Fit a classifier on a pretrained encoder and save it for `otolith label`."""
    path = _run(recipe, change, seed, run, data, shared, variant).transfer(mode=mode, shots=shots, fold=fold)
    out.print(f"{path}\ntry: otolith label {path} YOUR.csv", highlight=False)


@app.command(name="import-primus")
def import_primus(
    file: Annotated[Path, typer.Argument(help="The authors' best_model.ckpt (zenodo.org/records/15147513, 622 MB).")],
    target: Annotated[Path, typer.Option("--out", help="The checkpoint to write.")] = Path("primus.safetensors"),
    any_hash: Annotated[
        bool, typer.Option("--any-hash", help="Weights of your own in the same layout: do not compare the SHA-256.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Accepted by every stage; importing draws nothing.")] = 0,
) -> None:
    """Turn the published weights of PRIMUS into an encoder for `otolith zeroshot` and for transfer."""
    del seed
    from otolith.checkpoints import published

    with console.status(f"reading {file}"):
        made = published.import_primus(file, target, sha256=None if any_hash else published.PRIMUS_SHA256)
    out.print(
        f"{target}: encoder primus, heads {', '.join(sorted(made.heads))}, {target.stat().st_size / 1e6:.1f} MB\n"
        f"{made.about['licence']}; please cite: {made.about['cite']}",
        highlight=False,
    )


def _pretrain(job: Run, *, everyone: bool = False) -> None:
    if int(os.environ.get("RANK", "0")):  # of several processes, the first one speaks
        for _ in job.pretrain(everyone=everyone):
            pass
        return
    with _progress() as bar:
        task, name, said = None, "", ""
        for number, of, current, step in job.pretrain(everyone=everyone):
            if task is None or current != name:
                if task is not None:
                    bar.remove_task(task)
                task, name, said = bar.add_task("", total=step.of), current, ""
            if step.validation is not None:
                said = f", validation {step.validation:.3f}"
            loss = f"loss {sum(step.losses.values()):.3f}" if step.losses else ""
            text = f"{current} ({number}/{of}) epoch {step.epoch} {loss}{said}, {step.windows_per_s:,.0f} windows/s"
            bar.update(task, completed=step.index, total=step.of, description=text)
            if step.done:
                bar.console.print(f"    {text}, {step.seconds:.0f} s", highlight=False)
    folder = job.encoders
    out.print(f"{folder}: {len(list(folder.glob('*.safetensors')))} encoders", highlight=False)


def _search(job: Run, *, trials: int, **how: Any) -> None:
    from otolith.experiments import search, search_space

    with _progress() as bar:
        task = bar.add_task("searching", total=trials)
        for trial in search.search(job, trials=trials, **how):
            text = f"trial {trial.number} {trial.state}: {search_space.in_words(trial.settings)}"
            if trial.step is not None:
                held = "" if trial.step.validation is None else f", validation {trial.step.validation:.3f}"
                loss = f", loss {sum(trial.step.losses.values()):.3f}" if trial.step.losses else ""
                text += f"; epoch {trial.step.epoch}{loss}{held}"
            elif not trial.done:
                value = "" if trial.value is None else f", {trial.value:.4f}"
                bar.console.print(f"    {text}{value}", highlight=False, markup=False)
            bar.update(task, completed=trial.finished, description=_plain(text))
    best = job.folder / "recipe-best.toml"
    said = [line.removeprefix("# ") for line in best.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    out.print("\n".join([*said, str(best)]), highlight=False, markup=False)
