"""Typed records in JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

_R = TypeVar("_R")


def read_record(file: Path, kind: type[_R]) -> _R:
    """Return the record of a JSON file, whose fields are those of the dataclass `kind`.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return kind(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the result row '{file}' is damaged: {error}; remove it and evaluate again") from error
