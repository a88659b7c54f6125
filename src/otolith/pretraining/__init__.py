"""The pretraining loop: a generator of `Step` records; the caller draws progress and writes logs."""

from otolith.pretraining.loggers import CSVLogger, Logger, TensorBoardLogger
from otolith.pretraining.loop import DivergenceError, Step, pretrain, result_identity
from otolith.pretraining.settings import Runtime, Sampling
from otolith.pretraining.state import warmup_cosine

__all__ = [
    "CSVLogger",
    "DivergenceError",
    "Logger",
    "Runtime",
    "Sampling",
    "Step",
    "TensorBoardLogger",
    "pretrain",
    "result_identity",
    "warmup_cosine",
]
