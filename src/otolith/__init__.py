"""Pretrain encoders of wearable motion sensors without labels, adapt them with few labels, evaluate on held-out people.

    import otolith as ot

Every public name is an attribute of `ot`. An attribute is imported when it is first used, so that `import otolith` and
`otolith --help` load nothing heavy (PEP 562). `docs/flow.md` lists the packages in the order of the data flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otolith import encoders as encoders
    from otolith import objectives as objectives
    from otolith import paired as paired
    from otolith.apps.adapt.adapt import adapt_recordings as adapt_recordings
    from otolith.apps.label import Labeller as Labeller
    from otolith.apps.label import label_recordings as label_recordings
    from otolith.checkpoints.checkpoint import Checkpoint as Checkpoint
    from otolith.checkpoints.checkpoint import load as load_checkpoint
    from otolith.checkpoints.checkpoint import save as save_checkpoint
    from otolith.classifiers.baselines import ForestClassifier as ForestClassifier
    from otolith.classifiers.baselines import SVMClassifier as SVMClassifier
    from otolith.classifiers.baselines import load_classifier as load_classifier
    from otolith.classifiers.features import embed as embed
    from otolith.classifiers.heads import LogisticHead as LogisticHead
    from otolith.classifiers.heads import MLPHead as MLPHead
    from otolith.classifiers.heads import TextHead as TextHead
    from otolith.classifiers.minirocket import MiniRocketClassifier as MiniRocketClassifier
    from otolith.classifiers.settings import FineTuning as FineTuning
    from otolith.classifiers.settings import Training as Training
    from otolith.classifiers.transfer import TransferClassifier as TransferClassifier
    from otolith.data.augment import augment as augment
    from otolith.data.cutting import cut as cut
    from otolith.data.joining import join as join
    from otolith.data.prepare import prepare as prepare
    from otolith.data.recording import Recording as Recording
    from otolith.data.recording import Span as Span
    from otolith.data.splits import Split as Split
    from otolith.data.splits import by_subject as by_subject
    from otolith.data.splits import draw_shots as draw_shots
    from otolith.data.store import Store as Store
    from otolith.data.store import open_store as open_store
    from otolith.data.windows import SignalSpec as SignalSpec
    from otolith.data.windows import Windows as Windows
    from otolith.datasets import DATASETS as DATASETS
    from otolith.datasets import Dataset as Dataset
    from otolith.datasets.load import load_dataset as load_dataset
    from otolith.encoders import ENCODERS as ENCODERS
    from otolith.encoders import Encoder as Encoder
    from otolith.evaluation.plan import fold_seeds as fold_seeds
    from otolith.evaluation.plan import planned_rows as planned_rows
    from otolith.evaluation.protocol import collect_rows as collect_rows
    from otolith.evaluation.protocol import evaluate as evaluate
    from otolith.evaluation.retrieval import retrieval as retrieval
    from otolith.evaluation.rows import Row as Row
    from otolith.evaluation.statistics import gains as gains
    from otolith.evaluation.statistics import paired_difference as paired_difference
    from otolith.evaluation.statistics import summary as summary
    from otolith.experiments.recipe import Recipe as Recipe
    from otolith.experiments.recipe import load as load_recipe
    from otolith.experiments.run import Run as Run
    from otolith.experiments.study import study as study
    from otolith.objectives import CPC as CPC
    from otolith.objectives import OBJECTIVES as OBJECTIVES
    from otolith.objectives import CPCReconstruction as CPCReconstruction
    from otolith.objectives import GravityAware as GravityAware
    from otolith.objectives import Objective as Objective
    from otolith.objectives import Primus as Primus
    from otolith.objectives import Reconstruction as Reconstruction
    from otolith.objectives import SimCLR as SimCLR
    from otolith.objectives import TransformDiscrimination as TransformDiscrimination
    from otolith.pretraining import DivergenceError as DivergenceError
    from otolith.pretraining import Runtime as Runtime
    from otolith.pretraining import Sampling as Sampling
    from otolith.pretraining import Step as Step
    from otolith.pretraining import pretrain as pretrain

__version__ = "0.3.0"

__all__ = [
    "CPC",
    "DATASETS",
    "ENCODERS",
    "OBJECTIVES",
    "CPCReconstruction",
    "Checkpoint",
    "Dataset",
    "DivergenceError",
    "Encoder",
    "FineTuning",
    "ForestClassifier",
    "GravityAware",
    "Labeller",
    "LogisticHead",
    "MLPHead",
    "MiniRocketClassifier",
    "Objective",
    "Primus",
    "Recipe",
    "Reconstruction",
    "Recording",
    "Row",
    "Run",
    "Runtime",
    "SVMClassifier",
    "Sampling",
    "SignalSpec",
    "SimCLR",
    "Span",
    "Split",
    "Step",
    "Store",
    "TextHead",
    "Training",
    "TransferClassifier",
    "TransformDiscrimination",
    "Windows",
    "adapt_recordings",
    "augment",
    "by_subject",
    "collect_rows",
    "cut",
    "draw_shots",
    "embed",
    "encoders",
    "evaluate",
    "fold_seeds",
    "gains",
    "join",
    "label_recordings",
    "load_checkpoint",
    "load_classifier",
    "load_dataset",
    "load_recipe",
    "objectives",
    "open_store",
    "paired",
    "paired_difference",
    "planned_rows",
    "prepare",
    "pretrain",
    "retrieval",
    "save_checkpoint",
    "study",
    "summary",
]

_NAMES = {
    "apps.adapt.adapt": ["adapt_recordings"],
    "apps.label": ["Labeller", "label_recordings"],
    "checkpoints.checkpoint": ["Checkpoint"],
    "classifiers.baselines": ["ForestClassifier", "SVMClassifier", "load_classifier"],
    "classifiers.features": ["embed"],
    "classifiers.heads": ["LogisticHead", "MLPHead", "TextHead"],
    "classifiers.minirocket": ["MiniRocketClassifier"],
    "classifiers.settings": ["FineTuning", "Training"],
    "classifiers.transfer": ["TransferClassifier"],
    "data.augment": ["augment"],
    "data.cutting": ["cut"],
    "data.joining": ["join"],
    "data.prepare": ["prepare"],
    "data.recording": ["Recording", "Span"],
    "data.splits": ["Split", "by_subject", "draw_shots"],
    "data.store": ["Store", "open_store"],
    "data.windows": ["SignalSpec", "Windows"],
    "datasets": ["DATASETS", "Dataset"],
    "datasets.load": ["load_dataset"],
    "encoders": ["ENCODERS", "Encoder"],
    "evaluation.plan": ["fold_seeds", "planned_rows"],
    "evaluation.protocol": ["collect_rows", "evaluate"],
    "evaluation.retrieval": ["retrieval"],
    "evaluation.rows": ["Row"],
    "evaluation.statistics": ["gains", "paired_difference", "summary"],
    "experiments.recipe": ["Recipe"],
    "experiments.run": ["Run"],
    "experiments.study": ["study"],
    "objectives": [
        "CPC", "OBJECTIVES", "CPCReconstruction", "GravityAware", "Objective", "Primus", "Reconstruction", "SimCLR",
        "TransformDiscrimination",
    ],
    "pretraining": ["DivergenceError", "Runtime", "Sampling", "Step", "pretrain"],
}  # fmt: skip
"""Public names by the module that defines them."""
_RENAMED = {
    "load_checkpoint": ("checkpoints.checkpoint", "load"),
    "save_checkpoint": ("checkpoints.checkpoint", "save"),
    "load_recipe": ("experiments.recipe", "load"),
}
"""Public names of functions whose own names say too little outside their module."""
_MODULES = ["encoders", "objectives", "paired"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"otolith.{name}")
    homes = {public: (module, public) for module, names in _NAMES.items() for public in names} | _RENAMED
    if name not in homes:
        raise AttributeError(f"module 'otolith' has no attribute '{name}'")
    module, original = homes[name]
    value = globals()[name] = getattr(import_module(f"otolith.{module}"), original)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
