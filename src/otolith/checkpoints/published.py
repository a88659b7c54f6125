"""Convert published weights to Otolith checkpoints. Nothing is downloaded, and nothing in a file is executed.

PRIMUS (Das, Tang, Kawsar, Malekzadeh, ICASSP 2025): `best_model.ckpt` of Zenodo record 15147513, 622 MB, CC-BY-4.0, of which
the encoder and its two heads are 5.5 MB; the rest is the frozen video and text towers of CLIP.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from otolith.checkpoints import checkpoint
from otolith.data.windows import SignalSpec
from otolith.encoders import Primus
from otolith.storage.files import check_apart
from otolith.storage.files import sha256 as file_sha256

PRIMUS_SHA256 = "66392f3cebf1dcbe079fc4b8bdf3b4460bb7bcad8e47a217d114fcdf917fba3f"
PRIMUS_RECORD = "https://zenodo.org/records/15147513"

_PREFIX = "imu_encoder."
_NAMES = {
    "backbone.0.weight": "encoder.convolutions.0.weight",
    "backbone.0.bias": "encoder.convolutions.0.bias",
    "backbone.1.net.0.weight": "encoder.convolutions.1.weight",
    "backbone.2.net.0.weight": "encoder.convolutions.3.weight",
    "backbone.3.net.0.weight": "encoder.convolutions.5.weight",
    "backbone.4.weight": "encoder.convolutions.7.weight",
    "backbone.4.bias": "encoder.convolutions.7.bias",
    "backbone.5.weight_ih_l0": "encoder.gru.weight_ih_l0",
    "backbone.5.weight_hh_l0": "encoder.gru.weight_hh_l0",
    "backbone.5.bias_ih_l0": "encoder.gru.bias_ih_l0",
    "backbone.5.bias_hh_l0": "encoder.gru.bias_hh_l0",
    "ssl_head.weight": "ssl_head.weight",
    "ssl_head.bias": "ssl_head.bias",
    "mmcl_head.weight": "mmcl_head.weight",
    "mmcl_head.bias": "mmcl_head.bias",
}
"""Names of the published weights, without their prefix, and of Otolith's."""


def import_primus(source: Path, out: Path, *, sha256: str | None = PRIMUS_SHA256) -> checkpoint.Checkpoint:
    """Convert the authors' checkpoint: encoder `primus`, heads `ssl_head` and `mmcl_head`.

    Both heads are Linear 512 -> 512; `mmcl_head` projects into the space of the authors' CLIP ViT-B/32, for text and
    images alike. Windows are 5 s at 50 Hz of accelerometer and gyroscope, in this order. The first layer normalises each
    sensor, so it does not matter that the authors' acceleration was in m/s^2.

    Args:
        source: `best_model.ckpt`.
        out: the checkpoint to write, atomically; by convention `*.safetensors`.
        sha256: hash that `source` must have; None: any hash, for other weights in the same layout.

    Returns:
        The checkpoint, read back.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file has another hash or is no checkpoint, or its encoder has missing or unexpected weights, or
            weights of another shape or that are not finite. Nothing is written then.
    """
    if not source.is_file():
        raise FileNotFoundError(f"no file at '{source}'; expected best_model.ckpt of {PRIMUS_RECORD}")
    if sha256 is not None and (found := file_sha256(source)) != sha256:
        raise ValueError(
            f"'{source}' is not the published file: its SHA-256 is {found[:16]}..., expected {sha256[:16]}...; download it "
            f"again from {PRIMUS_RECORD}, or pass --any-hash (sha256=None) for weights of your own in the same layout"
        )
    check_apart(source, out)
    state = _state(source)
    given = {key[len(_PREFIX) :]: value for key, value in state.items() if key.startswith(_PREFIX)}
    if not given:
        raise ValueError(f"'{source}' holds no weights under '{_PREFIX}'; expected the layout of best_model.ckpt")
    for key, value in given.items():
        if not (isinstance(value, Tensor) and value.is_floating_point() and bool(torch.isfinite(value).all())):
            raise ValueError(f"'{_PREFIX}{key}' in '{source}' is not a tensor of finite numbers")
    encoder, ssl, mmcl = Primus(6), nn.Linear(512, 512), nn.Linear(512, 512)
    published = nn.ModuleDict({"encoder": encoder, "ssl_head": ssl, "mmcl_head": mmcl})
    own = published.state_dict()
    expected = {key: tuple(own[name].shape) for key, name in _NAMES.items()}
    problems = [f"missing {key}" for key in expected if key not in given]
    problems += [f"unexpected {key}" for key in given if key not in expected]
    problems += [
        f"{key} is {tuple(given[key].shape)} instead of {shape}"
        for key, shape in expected.items()
        if key in given and given[key].shape != shape
    ]
    if problems:
        raise ValueError(f"the encoder in '{source}' does not fit PRIMUS: {'; '.join(problems)}")
    published.load_state_dict({name: given[key].float() for key, name in _NAMES.items()})
    clip = {"encoder": "Searchium-ai/clip4clip-webvid150k", "sha256": None, "dim": 512}
    checkpoint.save(
        out,
        encoder,
        SignalSpec(50.0, ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"), 5.0),
        about={
            "objective": "primus",
            "objective_arguments": {"paired": {"video": 512, "text": 512}},
            "temperatures": {name: _scalar(state, f"{name}_loss.temperature") for name in ("ssl", "mmcl")},
            "encoder": "primus",
            "pretrained_on": "ego-exo4d",
            "subjects": [],
            "paired": {"text": clip, "video": clip},
            "licence": "CC-BY-4.0",
            "cite": "Das, Tang, Kawsar, Malekzadeh: PRIMUS: Pretraining IMU Encoders with Multimodal Self-Supervision, 2025",
            "from": {"record": PRIMUS_RECORD, "file": source.name, "sha256": file_sha256(source)},
        },
        heads={"ssl_head": ssl, "mmcl_head": mmcl},
    )
    return checkpoint.load(out)


def _state(source: Path) -> Mapping[str, Any]:
    """The file's `state_dict`. Weights are read when they are used: most of the file is never touched."""
    try:
        whole = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # damaged pickles raise anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"'{source}' cannot be read as a checkpoint that holds weights alone: {reason}; expected best_model.ckpt of "
            f"{PRIMUS_RECORD}, complete"
        ) from error
    state = whole.get("state_dict") if isinstance(whole, dict) else None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ValueError(f"'{source}' holds no state_dict; expected a Lightning checkpoint such as best_model.ckpt")
    return state


def _scalar(state: Mapping[str, Any], key: str) -> float | None:
    """A number of the file, such as a learned temperature; None if the file has none there."""
    value = state.get(key)
    if isinstance(value, Tensor) and value.numel() == 1 and bool(torch.isfinite(value).all()):
        return float(value)
    return None
