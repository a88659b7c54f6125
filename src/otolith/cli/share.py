"""The command that shares models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otolith.cli.command import command
from otolith.cli.console import out


@command
def push(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="model.safetensors of `otolith transfer` or `otolith adapt`, or an encoder."
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="[USER/NAME]", help="Repository on the hub.")] = "",
    licence: Annotated[
        str, typer.Option("--licence", help="Licence of the weights, such as apache-2.0.", show_default="the model's")
    ] = "",
    rows: Annotated[
        Path | None,
        typer.Option("--rows", metavar="CSV", help="rows.csv of `otolith report`: scores with intervals on the card."),
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Keep the model and its card in this folder.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Share a model on the Hugging Face hub, with a card made from its file: data, people, licence, scores, input.

    Names of people never leave: in the copy, people of your own recordings have numbers. Sign in first with `hf auth login`,
    or set HF_TOKEN. Others then use it as hub:USER/NAME wherever a model is expected. With --out and without a name, the
    files are only written to a folder. It needs the extra: pip install 'otolith\\[hub]'.

    [bold]Example:[/] otolith push runs/adapted/model.safetensors anna/gestures --licence apache-2.0
    """
    from otolith.apps.share import push as pushing
    from otolith.reports.study import read_rows

    table = None if rows is None else read_rows(rows)
    pushed = pushing(model, name, licence=licence, rows=table, folder=folder, private=private)
    lines = [pushed.address or str(folder)]
    if pushed.renamed:
        lines.append(f"{pushed.renamed} people's names were replaced by numbers")
    if name:
        lines.append(f"try: otolith label hub:{name} YOUR.csv")
    out.print("\n".join(lines), highlight=False, markup=False)
