"""Write and read tensors with metadata: one safetensors file with a JSON header. Nothing is unpickled.

Tensors and metadata are in one file, because two files cannot be replaced in one step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file
from torch import Tensor

from otolith.storage.files import replacing

_KEY = "otolith"


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and header, atomically. Contiguous tensors on the CPU, memory maps among them, are not copied.

    Raises:
        ValueError: the header has a value that JSON cannot represent, such as NaN.
    """
    text = json.dumps(header, allow_nan=False)
    apart, storages = dict[str, Tensor](), set[int]()
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if storage in storages else value  # the format cannot share memory between tensors
        storages.add(storage)
    with replacing(path) as part:
        save_file(apart, part, metadata={_KEY: text})


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the header and the tensors. The caller checks names, shapes and values.

    Raises:
        ValueError: the file is truncated, damaged or of another kind, or another program wrote it.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"'{path}' is not a complete safetensors file: {error}") from error
    if text is None:
        raise ValueError(f"'{path}' holds tensors but no Otolith header; only files that Otolith wrote can be loaded")
    try:
        header = json.loads(text)
        if not isinstance(header, dict):
            raise ValueError(f"it is a {type(header).__name__}; expected an object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the header of '{path}' cannot be used: {error}") from error
    return header, tensors
