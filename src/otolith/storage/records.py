"""Typed records in JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

_R = TypeVar("_R")


def _read(file: Path, kind: type[_R]) -> _R:
    try:
        return kind(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the result row '{file}' is damaged: {error}; remove it and evaluate again") from error
