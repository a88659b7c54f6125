"""(batch, channels, time) -> (batch, 256). Encoders know no corpus and no objective."""

from otolith.encoders.contract import Encoder
from otolith.encoders.cpc import CPC
from otolith.encoders.strided import Strided
from otolith.encoders.tpn import TPN

ENCODERS: dict[str, type[Encoder]] = {"cpc": CPC, "strided": Strided, "tpn": TPN}
"""Every encoder by name. A new one is one file and one line here; the contract tests find it by themselves."""

__all__ = ["CPC", "ENCODERS", "TPN", "Encoder", "Strided"]
