"""Write and read tensors with metadata: one safetensors file with a JSON header. Nothing is unpickled.

Tensors and metadata are in one file, because two files cannot be replaced in one step. The header holds a hash of both, and
no altered file is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from otolith.storage.files import replacing

_KEY, _HASH = "otolith", "sha256"


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and header, atomically. Contiguous tensors on the CPU, memory maps among them, are not copied.

    Raises:
        ValueError: the header has a value that JSON cannot represent, such as NaN.
        OSError: the file cannot be written, for example as the disk is full.
    """
    json.dumps(header, allow_nan=False)  # before tensors are copied
    apart, storages = dict[str, Tensor](), set[int]()
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if storage in storages else value  # the format cannot share memory between tensors
        storages.add(storage)
    with replacing(path) as part:
        text = json.dumps(
            {**header, _HASH: digest(header, apart)}
        )  # one key: the format does not keep the order of several
        try:
            save_file(apart, part, metadata={_KEY: text})
        except safetensors.SafetensorError as error:  # its words for every error of the disk
            raise OSError(f"'{path}' cannot be written: {error}; free some space, or choose another folder") from error


def digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the hash of a header and of the name, type, shape and values of each tensor, in hexadecimal."""
    sha256 = hashlib.sha256(json.dumps(header).encode())
    for name in sorted(tensors):
        value = tensors[name]
        sha256.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        sha256.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the header and the tensors. The caller checks names, shapes and values.

    Raises:
        ValueError: the file is truncated, damaged, altered or of another kind, or another program wrote it.
    """
    header, tensors = _read(path, values=True)
    if header.pop(_HASH, None) != digest(header, tensors):
        raise ValueError(
            f"'{path}' was altered after it was written: its content does not have its hash; make it again"
        )
    return header, tensors


def read_header(path: Path) -> dict[str, Any]:
    """Read the header alone, at no cost; only `read` compares it and the tensors with their hash.

    Raises:
        ValueError: the file is truncated, damaged or of another kind, or another program wrote it.
    """
    header, _ = _read(path, values=False)
    header.pop(_HASH, None)
    return header


def _read(path: Path, *, values: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text, names = (file.metadata() or {}).get(_KEY), file.keys() if values else ()
            tensors = {name: file.get_tensor(name) for name in names}
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
