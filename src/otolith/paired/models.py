"""Find, hash and load frozen models of `transformers`, from a folder or the Hugging Face hub.

`transformers` loads a folder without some of the weights with a warning and random values; here this is an error. No code
in a folder is run, and only tensors are unpickled.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from otolith.storage.files import fingerprint, sha256

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Model(NamedTuple):
    """A model's files.

    Attributes:
        name: name with which it was found.
        folder: folder of its config and weights.
        kind: `model_type` of its config.
        sha256: hash of its weights; of the list of their hashes if there are several files.
        settings: hash of the small files in the folder, on which its embeddings depend too: tokenizer, sizes, pooling.
    """

    name: str
    folder: Path
    kind: str
    sha256: str
    settings: str


def find(name: str, known: str, extra: str) -> Model:
    """Find the files of a model in a folder, or download them from the hub into its own cache.

    Args:
        name: a folder, or a name on the hub such as `openai/clip-vit-base-patch32`.
        known: names of models that need neither, for error messages.
        extra: the extra of this package that installs `transformers`.

    Raises:
        FileNotFoundError: there is no such folder, and the hub has no such model or cannot be reached.
        ImportError: `transformers` is not installed.
        ValueError: the folder holds no model.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise ImportError(f"the encoder '{name}' needs transformers: pip install 'otolith[{extra}]'") from error
    root = Path(name).expanduser()
    if not root.is_dir():
        root = _from_hub(name, known)
    modules = _json(root / "modules.json") if (root / "modules.json").is_file() else []
    folder = root / (modules[0].get("path", "") if modules else "")  # older sentence-transformers use a folder inside
    if not (folder / "config.json").is_file():
        raise ValueError(f"'{name}' has no config.json; it is not the folder of a transformers model")
    kind = _json(folder / "config.json").get("model_type")
    if not isinstance(kind, str):
        raise ValueError(f"config.json in '{name}' names no model_type; it is not the folder of a transformers model")
    weights = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not weights:
        raise ValueError(f"'{name}' has no weights: expected model.safetensors or pytorch_model.bin; copy it again")
    hashes = [sha256(path) for path in weights]
    small = sorted(path for ending in ("json", "txt", "model") for path in root.rglob(f"*.{ending}"))
    settings = fingerprint([[path.relative_to(root).as_posix(), sha256(path)] for path in small])
    return Model(name, folder, kind, hashes[0] if len(hashes) == 1 else fingerprint(hashes), settings)


def _from_hub(name: str, known: str) -> Path:
    """Return the folder of a model in the hub's own cache."""
    if not _HUB_NAME.fullmatch(name):
        raise FileNotFoundError(f"no folder '{name}'; pass {known}, the folder of a model, or its name on the hub")
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.txt", "*.model"]
    try:
        for weights in ("*.safetensors", "pytorch_model*.bin"):
            found = snapshot_download(name, allow_patterns=[*wanted, weights], ignore_patterns=["onnx/*", "openvino/*"])
            if any(Path(found).rglob(weights)):
                break
    except Exception as error:  # no connection, no such model, a licence to accept: errors of many types
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"no folder '{name}', and no model of this name could be downloaded from the Hugging Face hub ({why}); "
            f"pass {known}, or the folder of a model"
        ) from error
    return Path(found)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is damaged: {error}; copy it again") from error


def module(model: Model, kind: Any, unused: tuple[str, ...] = ()) -> nn.Module:
    """Load a frozen model, in float32 and eval mode; all its weights must be there.

    Args:
        model: files of the model.
        kind: class in `transformers`.
        unused: prefixes of weights that may be missing, because they are not used.

    Raises:
        ValueError: the weights cannot be read, or are not those of the model that the config describes.
    """
    with _quiet():
        try:
            loaded, info = kind.from_pretrained(
                model.folder, output_loading_info=True, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # damaged weights, other shapes, custom code
            raise ValueError(f"the model in '{model.name}' cannot be loaded: {_why(error)}; copy it again") from error
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(unused))
    if missing:
        raise ValueError(
            f"the weights of '{model.name}' do not fit its config.json: {len(missing)} are missing, such as "
            f"{', '.join(missing[:3])}; copy the folder again"
        )
    frozen: nn.Module = loaded.float().eval().requires_grad_(False)
    return frozen


def part(model: Model, kind: Any, what: str) -> Any:
    """Load the tokenizer or the config of a model.

    Raises:
        ValueError: it is missing or damaged.
    """
    with _quiet():
        try:
            return kind.from_pretrained(model.folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise ValueError(f"'{model.name}' has no {what} that can be loaded: {_why(error)}") from error


def settings_file(model: Model, *names: str) -> dict[str, Any]:
    """Read the first of these JSON files that the model has; return an empty dictionary if it has none.

    Raises:
        ValueError: the file is damaged.
    """
    for name in names:
        for folder in (model.folder, model.folder.parent):
            if (folder / name).is_file() and (folder == model.folder or (folder / "modules.json").is_file()):
                found = _json(folder / name)
                return found if isinstance(found, dict) else {"list": found}
    return {}


def checked(values: Tensor, rows: int, name: str) -> Tensor:
    """Return the (rows, dim) output of a model as float32 on the CPU.

    Raises:
        ValueError: the shape is another one, or a value is not finite.
    """
    values = values.detach().to("cpu", torch.float32)
    if values.ndim != 2 or len(values) != rows:
        raise ValueError(
            f"'{name}' gives embeddings of shape {tuple(values.shape)} for {rows} inputs; expected one per input"
        )
    if not bool(values.isfinite().all()):
        raise ValueError(f"'{name}' gives embeddings that are not finite: its weights are damaged; copy them again")
    return values


def _why(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and warnings of `transformers`; relevant ones are raised as errors."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
