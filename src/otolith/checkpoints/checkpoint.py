"""A model on disk: one safetensors file whose header holds, as JSON, what is needed to build it, feed it and trace it.

The header (`tensors`) holds the encoder's name and constructor arguments (with the mean and standard deviation it
standardises by), the signal contract, how and on which subjects it was pretrained, and by which code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from otolith import plugins
from otolith.checkpoints import shipped
from otolith.checkpoints.provenance import provenance
from otolith.data.windows import SignalSpec
from otolith.encoders import ENCODERS, Encoder, find_encoder
from otolith.storage import tensors
from otolith.storage.files import sha256

FORMAT = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """An encoder with its metadata.

    Attributes:
        encoder: built and loaded, in eval mode.
        signal: the only input that it may be fed.
        about: provenance; `subjects` lists the subjects seen, as `corpus:subject`.
        heads: state of each further module, by name.
        sha256: of the file.
    """

    encoder: Encoder
    signal: SignalSpec
    about: dict[str, Any]
    heads: dict[str, dict[str, Tensor]]
    sha256: str

    def weights_sha256(self) -> str:
        """Return a hash of the weights of encoder and heads alone; `sha256` covers their provenance too."""
        digest = hashlib.sha256()
        states = {"encoder": self.encoder.state_dict(), **self.heads}
        for part, state in sorted(states.items()):
            for name, tensor in state.items():
                digest.update(f"{part}.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()


def save(
    path: str | Path,
    encoder: Encoder,
    signal: SignalSpec,
    *,
    about: Mapping[str, Any],
    heads: Mapping[str, nn.Module] | None = None,
) -> None:
    """Write a checkpoint, atomically.

    Args:
        path: the file, by convention `*.safetensors`.
        encoder: its name in `ENCODERS`, or as another package adds it, and its arguments are saved with its weights.
        signal: the contract it was trained under.
        about: facts in JSON, such as objective, corpora, `subjects`; `provenance()` is added.
        heads: further modules to keep.

    Raises:
        ValueError: the encoder has no name, so that it could not be loaded again.
    """
    name = plugins.name_of(type(encoder), ENCODERS, "encoder")
    if name is None:
        raise ValueError(
            f"{type(encoder).__name__} is not in otolith.encoders.ENCODERS, so it could not be loaded again; add it there, "
            "or as an entry point of the group otolith.encoders"
        )
    header = {
        "encoder": {"name": name, "arguments": encoder.arguments()},
        "signal": signal.to_json(),
        "about": about,
    }
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    for head, module in (heads or {}).items():
        state |= {f"head.{head}.{key}": value for key, value in module.state_dict().items()}
    write_file(path, header, state)


def write_file(path: str | Path, header: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Write tensors and a JSON-able header as one safetensors file, atomically; its format and `provenance()` are added.

    Raises:
        ValueError: a weight is not finite.
    """
    check_finite(state, f"nothing was written to '{path}', because training diverged: lower lr; its weights")
    tensors.write(
        Path(path), state, {**header, "format": FORMAT, "about": {**header["about"], "made_by": provenance()}}
    )


def read_file(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the tensors that `write_file` wrote; the tensors are finite.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file is truncated, damaged, or was not written by Otolith.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no checkpoint at '{path}'; `otolith pretrain`, `otolith transfer` and `otolith adapt` write them"
        )
    header, state = tensors.read(path)
    with usable(path):
        if header["format"] != FORMAT:
            raise ValueError(f"checkpoint format {header['format']}; this version of Otolith reads format {FORMAT}")
    check_finite(state, f"'{path}' holds weights that")
    return header, state


def read_about(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of its origin, without its weights; only `load` compares it with the file's hash.

    Raises:
        ValueError: the file is truncated, damaged, or was not written by Otolith.
    """
    header = tensors.read_header(path)
    with usable(path):
        return dict(header["about"])


def check_finite(state: Mapping[str, Tensor], what: str) -> None:
    """Raise ValueError, which `what` begins, where weights are NaN or infinite."""
    bad = [name for name, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise ValueError(f"{what} are not finite: {', '.join(bad[:3])}")


def read_signal(header: Mapping[str, Any]) -> SignalSpec:
    """Return the signal contract of a header.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the header holds no valid contract.
    """
    signal = SignalSpec.from_json(header["signal"])
    if not 0 < signal.rate_hz * signal.seconds < math.inf:
        raise ValueError(f"windows of {signal.seconds} s at {signal.rate_hz} Hz")
    return signal


@contextlib.contextmanager
def usable(path: str | Path) -> Iterator[None]:
    """Turn every error inside, such as damaged headers cause, into a ValueError that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(f"the header of '{path}' cannot be used: {error}") from error


def load(path: str | Path = shipped.ENCODER) -> Checkpoint:
    """Return a checkpoint; every weight must be there, finite and of the right shape, and no other tensor.

    Args:
        path: the file, a folder with `model.safetensors`, `shipped` for the encoder that ships in the package, or
            `hub:user/name`.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file is truncated, damaged, of another kind, or does not fit the encoder it names.
    """
    path = shipped.locate(path)
    header, state = read_file(path)
    with usable(path):
        if "forest" in header:
            raise ValueError("it holds a random forest, which has no encoder; name a checkpoint of otolith pretrain")
        name, arguments = header["encoder"]["name"], header["encoder"]["arguments"]
        kind = find_encoder(name)
        signal, about = read_signal(header), dict(header["about"])
        if arguments["channels"] != len(signal.channels):
            raise ValueError(f"{arguments['channels']} channels in the encoder, {len(signal.channels)} in the signal")
        with torch.device("meta"):  # without memory, as sizes may be absurd until they are compared with the weights
            outline = kind(**arguments)
    weights = _below("encoder.", state)
    weights |= {key: value for key, value in state.items() if not key.startswith(("encoder.", "head."))}  # unexpected
    check_fit(outline, weights, what=f"encoder '{name}' in '{path}'")
    encoder = kind(**arguments)
    encoder.load_state_dict(weights)
    heads: dict[str, dict[str, Tensor]] = {}
    for key, value in _below("head.", state).items():
        head, _, rest = key.partition(".")
        heads.setdefault(head, {})[rest] = value
    return Checkpoint(encoder.eval(), signal, about, heads, sha256(path))


def check_fit(module: nn.Module, state: Mapping[str, Tensor], *, what: str) -> None:
    """Compare weights with a module, which may be on torch's meta device; the error lists what does not fit.

    Raises:
        ValueError: weights are missing, left over or of another shape.
    """
    own = module.state_dict()
    problems = [f"missing {key}" for key in own if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in own]
    problems += [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if problems:
        raise ValueError(f"weights do not fit {what}: {'; '.join(problems)}")


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
