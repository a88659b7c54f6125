"""Where the records of a run go: a CSV table, TensorBoard, or anything with `log(dict)`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from otolith.storage.files import write_text


@runtime_checkable
class Logger(Protocol):
    """What `pretrain` tells its records to; a run of Weights & Biases is one."""

    def log(self, metrics: dict[str, Any], /) -> Any:
        """Take the numbers of one record by name; `step` is among them."""


class CSVLogger:
    """Write records as lines of a CSV table, each as it comes.

    A run that continues replaces the lines of the steps that it does again.

    Args:
        path: the table.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self._columns = Path(path), list[str]()

    def log(self, metrics: Mapping[str, Any], /) -> None:
        """Add a line; the first record names the columns."""
        if not self._columns:
            self._columns = list(metrics)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, self._header() + self._kept(int(metrics["step"])))
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_line([metrics.get(name) for name in self._columns]))

    def _header(self) -> str:
        return _line(self._columns)

    def _kept(self, step: int) -> str:
        """Return the lines before a step of a table with the same columns."""
        if not self.path.is_file():
            return ""
        first, *lines = self.path.read_text(encoding="utf-8").splitlines() or [""]
        if f"{first}\n" != self._header():
            return ""
        place = self._columns.index("step")
        steps = [(line, line.split(",")[place : place + 1]) for line in lines]
        return "".join(f"{line}\n" for line, cell in steps if cell and cell[0].isdigit() and int(cell[0]) < step)


class TensorBoardLogger:
    """Write records as scalars for TensorBoard.

    Args:
        folder: of the event files.

    Raises:
        ValueError: the extra is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError("TensorBoard's logs need tensorboard: pip install 'otolith[tensorboard]'") from error
        self._writer = SummaryWriter(str(folder))

    def log(self, metrics: Mapping[str, Any], /) -> None:
        """Write each number as a scalar of its step."""
        for name, value in metrics.items():
            if name != "step" and value is not None:
                self._writer.add_scalar(name, value, int(metrics["step"]))
        self._writer.flush()


def _line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()
