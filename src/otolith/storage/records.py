"""Write and read typed records: one JSON file per record, which holds a hash of its content."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from otolith.storage.files import fingerprint, write_text

Record = TypeVar("Record")
_HASH = "sha256"


def write_record(file: Path, record: Any) -> None:
    """Write a dataclass of numbers and text as JSON, atomically, with a hash of its content."""
    content = dataclasses.asdict(record)
    write_text(file, json.dumps({**content, _HASH: fingerprint(content)}, indent=1))


def read_record(file: Path, kind: type[Record]) -> Record:
    """Read what `write_record` wrote.

    Args:
        file: the record. A record with a field `fingerprint` lies in the file of this name.
        kind: its type.

    Raises:
        ValueError: the file is damaged, was altered or exchanged, or does not fit the type.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        stated = content.pop(_HASH, None)
        record = TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
        if stated != fingerprint(content):
            raise ValueError("its content does not have its hash")
        if content.get("fingerprint", file.stem) != file.stem:
            raise ValueError(f"it is the row {content['fingerprint']}")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = error
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = ValueError(f"{first['loc'][0] if first['loc'] else 'it'}: {first['msg']}")
        raise ValueError(f"the result row '{file}' is damaged: {reason}; remove it and evaluate again") from error
    return record
