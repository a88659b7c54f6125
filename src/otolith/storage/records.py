"""Read typed records from JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

Record = TypeVar("Record")


def read_record(file: Path, kind: type[Record]) -> Record:
    """Read a record from a JSON file whose keys are the arguments of its type.

    Raises:
        ValueError: the file is damaged, or a key is missing or unknown.
    """
    try:
        return kind(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the result row '{file}' is damaged: {error}; remove it and evaluate again") from error
