"""Encoders: (batch, channels, time) -> (batch, dim). They know no corpus and no objective."""

from otolith import plugins
from otolith.encoders.contract import Encoder
from otolith.encoders.cpc import CPC
from otolith.encoders.deepconvlstm import DeepConvLSTM
from otolith.encoders.primus import Primus
from otolith.encoders.resnet import ResNet
from otolith.encoders.strided import Strided
from otolith.encoders.tpn import TPN
from otolith.encoders.transformer import Transformer

ENCODERS: dict[str, type[Encoder]] = {
    "cpc": CPC,
    "deepconvlstm": DeepConvLSTM,
    "primus": Primus,
    "resnet": ResNet,
    "strided": Strided,
    "tpn": TPN,
    "transformer": Transformer,
}
"""Every encoder by name. A new encoder is one file and one line here; the contract tests include it automatically."""


def find_encoder(name: str) -> type[Encoder]:
    """Return an encoder's class by name: one of `ENCODERS`, or one that another package adds (see `plugins`).

    Raises:
        ValueError: there is none of this name, or it cannot be loaded.
    """
    return plugins.find(name, ENCODERS, "encoder", Encoder)


__all__ = [
    "CPC",
    "ENCODERS",
    "TPN",
    "DeepConvLSTM",
    "Encoder",
    "Primus",
    "ResNet",
    "Strided",
    "Transformer",
    "find_encoder",
]
