"""Objectives: Batch -> named losses. An objective owns its heads, queues and views, and pretrains any suitable encoder."""

from otolith import plugins
from otolith.objectives.contract import Objective
from otolith.objectives.cpc import CPC
from otolith.objectives.cpc_reconstruction import CPCReconstruction
from otolith.objectives.gravity_aware import GravityAware
from otolith.objectives.primus import Primus
from otolith.objectives.reconstruction import Reconstruction
from otolith.objectives.simclr import SimCLR
from otolith.objectives.transform_discrimination import TransformDiscrimination

OBJECTIVES: dict[str, type[Objective]] = {
    "cpc": CPC,
    "cpc_reconstruction": CPCReconstruction,
    "gravity_aware": GravityAware,
    "primus": Primus,
    "reconstruction": Reconstruction,
    "simclr": SimCLR,
    "transform_discrimination": TransformDiscrimination,
}
"""Every objective by name. A new objective is one file and one line here; the contract tests include it automatically."""


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
    "GravityAware",
    "Objective",
    "Primus",
    "Reconstruction",
    "SimCLR",
    "TransformDiscrimination",
    "find_objective",
]
