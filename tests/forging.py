"""Files of tensors as an attacker would write them: with any header, and with the hash that belongs to it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from otolith.storage.tensors import digest


def save_forged(tensors: Mapping[str, torch.Tensor | np.ndarray], path: Path, text: str) -> None:
    """Write tensors and the text of a header; where it is an object, with a hash that fits both."""
    content = {name: torch.as_tensor(value) for name, value in tensors.items()}
    try:
        header = {key: value for key, value in json.loads(text).items() if key != "sha256"}
        text = json.dumps({**header, "sha256": digest(header, content)})
    except (ValueError, AttributeError, RecursionError):  # no object: refused before its hash is looked at
        pass
    save_file(content, path, {"otolith": text})
