"""Batch -> named losses. An objective owns its heads, queues and views, and pretrains any encoder that has what it needs."""

from otolith import plugins
from otolith.objectives.contract import Objective
from otolith.objectives.cpc import CPC
from otolith.objectives.cpc_reconstruction import CPCReconstruction
from otolith.objectives.primus import Primus
from otolith.objectives.reconstruction import Reconstruction
from otolith.objectives.simclr import SimCLR
from otolith.objectives.statistics import Statistics
from otolith.objectives.transform_discrimination import TransformDiscrimination

OBJECTIVES: dict[str, type[Objective]] = {
    "cpc": CPC,
    "cpc_reconstruction": CPCReconstruction,
    "primus": Primus,
    "reconstruction": Reconstruction,
    "simclr": SimCLR,
    "statistics": Statistics,
    "transform_discrimination": TransformDiscrimination,
}
"""Every objective by name. A new one is one file and one line here; the contract tests find it by themselves."""


def find_objective(name: str) -> type[Objective]:
    """Return an objective's class by name: one of `OBJECTIVES`, or one that another package adds (see `plugins`).

    Raises:
        ValueError: there is none of this name, or it cannot be loaded.
    """
    return plugins.find(name, OBJECTIVES, "objective", Objective)


__all__ = [
    "CPC",
    "OBJECTIVES",
    "CPCReconstruction",
    "Objective",
    "Primus",
    "Reconstruction",
    "SimCLR",
    "Statistics",
    "TransformDiscrimination",
    "find_objective",
]
