"""Write models as ONNX files, which run without Otolith and without torch, and compare them with the models."""

from otolith.apps.export.check import Compared, Sample, compared, random_sample, read_sample
from otolith.apps.export.export import Exported, Written, export
from otolith.apps.export.graph import graph_of, load_model, network_of, signal_of

__all__ = [
    "Compared",
    "Exported",
    "Sample",
    "Written",
    "compared",
    "export",
    "graph_of",
    "load_model",
    "network_of",
    "random_sample",
    "read_sample",
    "signal_of",
]
