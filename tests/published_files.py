"""Made files in the layout of PRIMUS's published checkpoint."""

import math
from typing import Any

import torch
from torch import Tensor

SHAPES = {
    "backbone.0.weight": (6,),
    "backbone.0.bias": (6,),
    "backbone.1.net.0.weight": (32, 6, 10),
    "backbone.2.net.0.weight": (32, 32, 5),
    "backbone.3.net.0.weight": (32, 32, 5),
    "backbone.4.weight": (32,),
    "backbone.4.bias": (32,),
    "backbone.5.weight_ih_l0": (1536, 32),
    "backbone.5.weight_hh_l0": (1536, 512),
    "backbone.5.bias_ih_l0": (1536,),
    "backbone.5.bias_hh_l0": (1536,),
    "ssl_head.weight": (512, 512),
    "ssl_head.bias": (512,),
    "mmcl_head.weight": (512, 512),
    "mmcl_head.bias": (512,),
}


def weights() -> dict[str, Tensor]:
    """Tensor k, entry i: 0.05 sin(0.7 (i + 1) + k), and 1 more in the scales of both normalisations."""
    made = {}
    for k, (name, shape) in enumerate(SHAPES.items()):
        entry = torch.arange(math.prod(shape), dtype=torch.float64)
        values = 0.05 * torch.sin(0.7 * (entry + 1) + k) + float(name in ("backbone.0.weight", "backbone.4.weight"))
        made[name] = values.float().reshape(shape)
    return made


def layout(**changed: Any) -> dict[str, Any]:
    """A file as Lightning writes it, with weights exchanged, added or (None) taken away."""
    encoder = {**weights(), **changed}
    state = {f"imu_encoder.{name}": value for name, value in encoder.items() if value is not None}
    state |= {"mmcl_loss.temperature": torch.tensor(0.08), "ssl_loss.temperature": torch.tensor([0.09])}
    state["video_encoder.model.positions"] = torch.zeros(7, 3)
    return {
        "epoch": 14,
        "global_step": 10,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 2e-4}]}],
        "hyper_parameters": {"batch_size": 16},
    }
