"""Models as ONNX graphs: windows in g and rad/s in, probabilities and features out."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

import otolith
from otolith.checkpoints import checkpoint
from otolith.checkpoints.checkpoint import Checkpoint
from otolith.classifiers.baselines import ForestClassifier, load_classifier
from otolith.classifiers.features import WithStatistics
from otolith.classifiers.rejection import Rejection
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.features import log_features, simple_features
from otolith.data.windows import SignalSpec

Model = TransferClassifier | ForestClassifier | Checkpoint

INPUT, PROBABILITIES, FEATURES, DISTANCES = "windows", "probabilities", "features", "distances"
_EXAMPLES = 3  # windows that the exporter traces; any number but 1, which it would take for fixed
_LEAST = 1e-6  # probabilities below it count as this where a temperature divides their logarithms


def load_model(path: Path) -> Model:
    """Load a classifier, or an encoder without one.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file is damaged, or of another kind.
    """
    header, _ = checkpoint.read_file(path)
    if "forest" in header or "classifier" in header["about"]:
        return load_classifier(path)
    return checkpoint.load(path)


def signal_of(model: Model) -> SignalSpec:
    """Return the signal contract of a model."""
    signal = model.signal if isinstance(model, Checkpoint) else model.signal_
    assert signal is not None  # files of models have one
    return signal


def labels_of(model: Model) -> list[str]:
    """Return the class names in the order of the probabilities; none of an encoder."""
    return [] if isinstance(model, Checkpoint) else [str(label) for label in model.classes_]


def temperature_of(model: Model) -> float:
    """Return what the logarithms of the probabilities are divided by; 1 where a model has no temperature."""
    rejection = rejection_of(model)
    return 1.0 if rejection is None else float(rejection.temperature)


def rejection_of(model: Model) -> Rejection | None:
    """Return what a model knows of the unknown; None where it knows nothing of it."""
    found: Rejection | None = getattr(model, "rejection_", None)
    return found


def graph_of(model: Model, model_sha256: str) -> Any:
    """Return the ONNX graph of a model, with its facts as metadata.

    The input `windows` is float32 (batch, channels, time), in g and rad/s, at the stated rate; the batch may have any size.
    The outputs are `probabilities` (batch, classes) and `features` (batch, dim): what the head sees, which is the encoder's
    vector and the window's statistics where the head uses these. An encoder alone has no probabilities; the features of a
    forest are `simple_features`. A model that knows the unknown gives `distances` (batch, 2) too: how far the window lies
    from the training windows, see `classifiers.rejection.Rejection`; the thresholds are in the metadata.

    Args:
        model: fitted, from its file.
        model_sha256: hash of that file.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        ImportError: the packages of the extra `export` are missing.
    """
    needs()
    network, outputs = network_of(model)
    graph = _traced(network, model, outputs)
    if isinstance(model, ForestClassifier):
        _append_forest(graph, model)
    _set_metadata(graph, model, model_sha256)
    return graph


def network_of(model: Model) -> tuple[nn.Module, list[str]]:
    """Return what a graph computes as one torch module, for other converters, and the names of its outputs.

    The module takes float32 windows (batch, channels, time) in g and rad/s. A forest's module ends at its features, which
    the trees take.

    Args:
        model: fitted, from its file.
    """
    rejection = rejection_of(model)
    distances = [] if rejection is None else [DISTANCES]
    if isinstance(model, ForestClassifier):
        return _WithDistances(_ForestFeatures(), rejection).eval(), [FEATURES, *distances]
    if isinstance(model, Checkpoint):
        return _Network(cast(Checkpoint, model).encoder, None).cpu().eval(), [FEATURES]
    body: nn.Module = _WithStatistics(model.encoder_) if model.head.use_statistics else model.encoder_
    network = _WithDistances(_Network(body, model.head_, temperature_of(model)), rejection)
    return network.cpu().eval(), [PROBABILITIES, FEATURES, *distances]


def needs() -> None:
    """Import what an export needs.

    Raises:
        ImportError: a package is missing; the message names the extra.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"an export needs the package {error.name}, which is not installed: pip install 'otolith[export]'"
        ) from error


class _Network(nn.Module):
    """An encoder and a head as one module.

    Args:
        body: windows -> what the head sees.
        head: features -> logits; None: features are the only output.
        temperature: see `temperature_of`.
    """

    def __init__(self, body: nn.Module, head: nn.Module | None, temperature: float = 1.0) -> None:
        super().__init__()
        self.body, self.head, self.temperature = body, head, temperature

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in order."""
        features = self.body(windows)
        if self.head is None:
            return (features,)
        probability = self.head(features).softmax(dim=1)
        if self.temperature != 1:
            probability = (probability.clamp_min(_LEAST).log() / self.temperature).softmax(dim=1)
        return probability, features


class _WithStatistics(nn.Module):
    """`classifiers.features.WithStatistics`, whose statistics are computed in 64 bits and rounded to 32.

    A head may weight a statistic that hardly varies by many thousands, and the logarithms and Fourier transforms of ONNX
    runtimes are less exact in 32 bits than torch's.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, windows: Tensor) -> Tensor:
        """Return one vector per window."""
        return torch.cat([self.encoder(windows), log_features(windows.double()).float()], dim=1)


class _ForestFeatures(nn.Module):
    """What a forest sees of windows: computed in 64 bits and rounded to 32, as scikit-learn does."""

    def forward(self, windows: Tensor) -> tuple[Tensor]:
        """Return the features."""
        return (simple_features(windows.double()).float(),)


class _WithDistances(nn.Module):
    """A network with the distances of `Rejection`, in 64 bits, as its last output.

    Args:
        network: windows -> outputs.
        rejection: None: the network alone.
    """

    def __init__(self, network: nn.Module, rejection: Rejection | None) -> None:
        super().__init__()
        self.network, self.rejection = network, rejection

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in order."""
        found: tuple[Tensor, ...] = self.network(windows)
        known = self.rejection
        if known is None:
            return found
        z = (log_features(windows.double()) - known.mean) / known.scale
        inside, overall = z @ known.within, ((z @ known.overall) ** 2).sum(dim=1)
        nearest = ((inside[:, None] - known.centres @ known.within) ** 2).sum(dim=2).min(dim=1).values
        excess = torch.maximum(known.lowest - z[:, None], z[:, None] - known.highest).clamp_min(0)
        outside = (excess**2).sum(dim=2).min(dim=1).values
        return *found, torch.stack([nearest - overall, outside], dim=1).float()


def _traced(network: nn.Module, model: Model, outputs: list[str]) -> Any:
    signal = signal_of(model)
    example = torch.zeros(_EXAMPLES, len(signal.channels), signal.steps)
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says of its own code, and that there is no torchvision, of which a model has nothing."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _append_forest(graph: Any, model: ForestClassifier) -> None:
    """Append the trees to the graph of their features."""
    from onnx import TensorProto, helper

    found = tree_arrays(model)
    classes, temperature = len(model.classes_), temperature_of(model)
    raw = PROBABILITIES if temperature == 1 else "shares"
    node = helper.make_node(
        "TreeEnsembleClassifier",
        [FEATURES],
        ["label", raw],
        domain="ai.onnx.ml",
        classlabels_int64s=list(range(classes)),
        post_transform="NONE",
        nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in found.pop("leaf")],
        **{name: values.tolist() for name, values in found.items()},
    )
    graph.graph.node.append(node)
    if temperature != 1:
        for name, value in (("least", _LEAST), ("temperature", temperature)):
            graph.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
        graph.graph.node.extend(
            [
                helper.make_node("Clip", [raw, "least"], ["clipped"]),
                helper.make_node("Log", ["clipped"], ["logarithms"]),
                helper.make_node("Div", ["logarithms", "temperature"], ["scaled"]),
                helper.make_node("Softmax", ["scaled"], [PROBABILITIES], axis=1),
            ]
        )
    graph.graph.output.insert(0, helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", classes]))
    graph.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def tree_arrays(model: ForestClassifier) -> dict[str, np.ndarray]:
    """Return the nodes of all trees under the names of ONNX's attributes, and `leaf`.

    scikit-learn compares features in 32 bits with thresholds in 64; ONNX has both in 32. Thresholds are rounded down, with
    which every comparison has the same result.
    """
    trees = model.trees_
    leaf, count = trees.leaf, len(trees.left)
    tree = np.searchsorted(trees.root, np.arange(count), side="right") - 1
    start = trees.root[tree]
    below = trees.threshold.astype(np.float32)
    below = np.where(below > trees.threshold, np.nextafter(below, np.float32(-np.inf)), below)
    at, classes = np.flatnonzero(leaf), trees.share.shape[1]
    return {
        "leaf": leaf,
        "nodes_treeids": tree,
        "nodes_nodeids": np.arange(count) - start,
        "nodes_featureids": trees.feature,
        "nodes_values": below.astype(np.float32),
        "nodes_truenodeids": np.where(leaf, 0, trees.left - start),
        "nodes_falsenodeids": np.where(leaf, 0, trees.right - start),
        "class_treeids": np.repeat(tree[at], classes),
        "class_nodeids": np.repeat(at - start[at], classes),
        "class_ids": np.tile(np.arange(classes), len(at)),
        "class_weights": (trees.share[at] / len(trees.root)).astype(np.float32).ravel(),
    }


def _set_metadata(graph: Any, model: Model, model_sha256: str) -> None:
    from onnx import helper

    signal = signal_of(model)
    kinds: dict[type, str] = {TransferClassifier: "classifier", ForestClassifier: "forest", Checkpoint: "encoder"}
    facts = {
        **signal.to_json(),
        "steps": signal.steps,
        "kind": kinds[type(model)],
        "classes": labels_of(model),
        "model_sha256": model_sha256,
        "precision": "float32",
        "otolith": otolith.__version__,
    }
    if temperature_of(model) != 1:
        facts["temperature"] = temperature_of(model)
    if (rejection := rejection_of(model)) is not None:
        facts["most_distance"] = rejection.most_distance.tolist()
        facts["least_probability"] = float(rejection.least_probability)
    graph.producer_name, graph.producer_version = "otolith", otolith.__version__
    words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    helper.set_model_props(graph, words)
    for node in graph.graph.node:  # where each node comes from in this machine's files
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    del graph.graph.metadata_props[:]


def outputs_of(model: Model, x: Float[np.ndarray, "batch channels time"]) -> dict[str, np.ndarray]:
    """Return what a model says of windows, computed in 64 bits, by the names of the graph's outputs.

    In 32 bits, the model itself is less exact than its graph: where a head weights a statistic that hardly varies by many
    thousands, rounding alone moves its probabilities.
    """
    windows = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
    if isinstance(model, ForestClassifier):
        found = {PROBABILITIES: model.predict_proba(windows), FEATURES: simple_features(windows).numpy()}
    else:
        encoder = (
            copy.deepcopy(cast(Checkpoint, model).encoder if isinstance(model, Checkpoint) else model.encoder_)
            .double()
            .eval()
        )
        with torch.no_grad():
            if isinstance(model, Checkpoint):
                return {FEATURES: encoder(windows).numpy()}
            body: nn.Module = WithStatistics(encoder) if model.head.use_statistics else encoder
            features = body(windows)
            logits = copy.deepcopy(model.head_).double().eval()(features)
            found = {PROBABILITIES: logits.softmax(dim=1).numpy(), FEATURES: features.numpy()}
    if (rejection := rejection_of(model)) is not None:
        found[PROBABILITIES] = rejection.tempered(found[PROBABILITIES])
        found[DISTANCES] = rejection.distance_of(log_features(windows).numpy())
    return found
