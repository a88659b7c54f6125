"""The command that writes models for other programs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from otolith.cli.command import command
from otolith.cli.console import notes, put_json, results
from otolith.cli.options import JsonOption, RecordingOptions

if TYPE_CHECKING:
    from otolith.apps.export.export import Exported


@command
def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="model.safetensors of `otolith transfer` or `otolith adapt`, an encoder of `otolith pretrain`, "
            "hub:USER/NAME, or activity or shipped: the model and the encoder that ship.",
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="Format of the file: onnx.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option("--out", help="The file.", show_default="MODEL with the suffix .onnx")
    ] = None,
    windows: Annotated[
        Path | None,
        typer.Option(
            "--windows",
            metavar="PATH",
            help="Prepared store or recordings: for the comparison, and to calibrate --int8.",
            show_default="random windows",
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Write a file in 8-bit integers too.")] = False,
    least_equal: Annotated[
        float, typer.Option("--least-equal", help="Least share of windows to which --int8 gives the model's label.")
    ] = 0.95,
    as_json: JsonOption = False,
    *,
    recording: RecordingOptions,
) -> None:
    """Write a model as an ONNX file, which runs without Otolith and without torch, and compare it with the model.

    The file takes windows (batch, channels, time) in g and rad/s at the model's rate and gives probabilities and features;
    classes, channels, units and rate are in its metadata. Nothing is written unless it agrees with the model: differences
    of at most 1e-4, and with --int8 equal labels. It needs the extra: pip install 'otolith\\[export]'.

    [bold]Example:[/] otolith export model.safetensors --to onnx --windows recordings --int8
    """
    from otolith.apps.export import export as exporting
    from otolith.checkpoints import shipped

    if to != "onnx":
        raise ValueError(f"--to is '{to}'; expected onnx")
    path = shipped.locate(model)
    here = path.is_relative_to(model)  # and neither in the package nor fetched from elsewhere
    made = exporting(
        path,
        out or (path.with_suffix(".onnx") if here else Path(f"{model.name.removesuffix('.safetensors')}.onnx")),
        windows=windows,
        int8=int8,
        least_equal=least_equal,
        options=recording.read_options(),
    )
    _show(made, as_json=as_json)


def _show(made: Exported, *, as_json: bool) -> None:
    screen = results(as_json)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    for name in ("precision", "size", "one window", "windows", "largest difference", "equal labels", "equal unknown"):
        table.add_column(name, justify="right")
    for each in made.files:
        found = each.compared
        equal, unknown = (
            "" if share is None else f"{100 * share:.1f} %" for share in (found.equal_labels, found.equal_unknown)
        )
        worst = max(found.largest.values())
        size, took = f"{each.size / 1e6:.2f} MB", f"{each.milliseconds:.2f} ms"
        table.add_row(str(each.file), each.precision, size, took, f"{found.windows:,}", f"{worst:.1e}", equal, unknown)
    screen.print(table)
    notes.print(f"compared on {made.files[0].on}", highlight=False, markup=False, soft_wrap=True)
    if len(made.files) > 1:
        notes.print("int8: calibrated on half of the people and compared on the others", highlight=False, markup=False)
    notes.print(f"the model itself takes {made.model_milliseconds:.2f} ms for one window", highlight=False)
    if as_json:
        put_json(dataclasses.asdict(made))
