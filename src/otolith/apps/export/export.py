"""A model's file -> ONNX files in 32-bit floats and in 8-bit integers, each compared with the model before it is written."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from otolith.apps.export.check import (
    Compared,
    Sample,
    compared,
    milliseconds,
    random_sample,
    read_sample,
    run,
    session_of,
)
from otolith.apps.export.graph import FEATURES, INPUT, graph_of, load_model, needs, outputs_of, rejection_of, signal_of
from otolith.checkpoints.checkpoint import Checkpoint
from otolith.classifiers.baselines import ForestClassifier
from otolith.formats import ReadOptions
from otolith.formats.options import DEFAULTS
from otolith.storage.files import check_apart, replacing, sha256

TOLERANCE = 1e-4
"""The largest difference between a graph in 32-bit floats and its model in 64 bits; see `Compared.largest`."""
LEAST_EQUAL = 0.95
"""The least share of windows to which a graph in 8-bit integers gives the model's label."""
QUANTISED = ("Conv", "MatMul", "Gemm")
"""Operations of the encoder that are computed in 8-bit integers; the others, GRU and LSTM among them, stay in floats."""
_CALIBRATION_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
        file: its path.
        precision: `float32` or `int8`.
        size: in bytes.
        milliseconds: for one window, on one core.
        compared: with the model.
        on: the windows of the comparison, in words.
    """

    file: Path
    precision: str
    size: int
    milliseconds: float
    compared: Compared
    on: str


@dataclasses.dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        files: that were written.
        model_milliseconds: of the model itself for one window, on as many cores as torch has.
        metadata: of the files, by name.
    """

    files: tuple[Written, ...]
    model_milliseconds: float
    metadata: dict[str, str]


def export(
    path: Path,
    out: Path,
    *,
    windows: Path | None = None,
    int8: bool = False,
    least_equal: float = LEAST_EQUAL,
    options: ReadOptions = DEFAULTS,
) -> Exported:
    """Write `out`, and with `int8` also `<out>.int8.onnx`; nothing is written unless both agree with the model.

    Args:
        path: file of a classifier, or of an encoder.
        out: the ONNX file.
        windows: prepared store, folder of recordings or recording; the comparison is made on its windows. None: on random
            windows. For `int8`, the graph is calibrated on half of the people and compared on the others.
        int8: quantise the encoder's convolutions and linear layers, statically.
        least_equal: least share of equal labels (of an encoder: least mean cosine of its features) for `int8`.
        options: of the reader.

    Raises:
        FileNotFoundError: there is no model, or no recording.
        ImportError: the packages of the extra `export` are missing.
        ValueError: a recording does not suit the model, `int8` has no windows or the model no layer for it, or a graph
            differs too much.
    """
    needs()
    check_apart(path, out, out.with_suffix(".int8.onnx"))
    model = load_model(path)
    if int8 and isinstance(model, ForestClassifier):
        raise ValueError(f"'{path}' holds a random forest, which has no weights to quantise: export it without --int8")
    if int8 and windows is None:
        raise ValueError(
            "int8 is calibrated on windows: name a prepared store or a folder of recordings with --windows"
        )
    if not 0 <= least_equal <= 1:
        raise ValueError(f"the least share of equal labels is {least_equal}; expected a number from 0 to 1")
    about = model.about if isinstance(model, Checkpoint) else model.about_
    signal = signal_of(model)
    if windows is None:
        sample = random_sample(signal)
    else:
        sample = read_sample(windows, signal, recorded_in=about.get("recorded_in"), options=options)
    graph = graph_of(model, sha256(path))
    everything = sample.take(np.arange(len(sample.x)))
    files = [(out, "float32", *_judged(graph, model, everything))]
    _check_float(files[0][3].compared)
    if int8:
        calibration, others = sample.halves()
        small = quantised(graph, calibration.x)
        files.append((out.with_suffix(".int8.onnx"), "int8", *_judged(small, model, others)))
        _check_int8(files[1][3].compared, least_equal)
    for file, _, content, _ in files:
        with replacing(file) as part:
            part.write_bytes(content)
    one = torch.from_numpy(sample.x[:1])
    alone: Callable[[torch.Tensor], Any] = (
        cast(Checkpoint, model).encoder if isinstance(model, Checkpoint) else model.predict_proba
    )
    with torch.no_grad():
        took = milliseconds(lambda: alone(one))
    metadata = {each.key: each.value for each in graph.metadata_props}
    written = (dataclasses.replace(judged, file=file, precision=precision) for file, precision, _, judged in files)
    return Exported(tuple(written), took, metadata)


def _judged(graph: Any, model: Any, sample: Sample) -> tuple[bytes, Written]:
    """The content of the file, and how it compares."""
    content = graph.SerializeToString()
    session = session_of(content)
    found = compared(outputs_of(model, sample.x), run(session, sample.x), rejection_of(model))
    took = milliseconds(lambda: run(session, sample.x[:1]))
    return content, Written(Path(), "", len(content), took, found, sample.what)


def _check_float(found: Compared) -> None:
    name, most = max(found.largest.items(), key=lambda item: item[1])
    if not most <= TOLERANCE:
        raise ValueError(
            f"the graph's {name} differ from the model's by {most:.2g} (at most {TOLERANCE:g} is allowed): nothing was "
            "written; report this model's encoder and head"
        )


def _check_int8(found: Compared, least: float) -> None:
    share = found.cosine if found.equal_labels is None else found.equal_labels
    what = "a mean cosine of" if found.equal_labels is None else "equal labels for a share of"
    if not share >= least:
        raise ValueError(
            f"int8 gives {what} {share:.3f} on {found.windows} windows (expected {least:g}): nothing was written; calibrate "
            "on more recordings, leave out --int8, or accept less with --least-equal"
        )


def quantised(graph: Any, x: np.ndarray) -> Any:
    """Return a graph whose encoder computes convolutions and linear layers in 8-bit integers, calibrated on windows.

    Static quantisation of onnxruntime: weights per channel, activations by their range on the windows. The head stays in
    floats, since statistics and features of the encoder have different ranges.

    Args:
        graph: of `graph_of`.
        x: (windows, channels, time), of people like those to come.

    Raises:
        ValueError: the graph has no layer to quantise.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """Hands out batches."""

        def __init__(self) -> None:
            self.batches: Iterator[np.ndarray] = iter(
                np.split(x, range(_CALIBRATION_BATCH, len(x), _CALIBRATION_BATCH))
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            """Return the next batch."""
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    head = after(graph, FEATURES)
    layers = [node.name for node in graph.graph.node if node.op_type in QUANTISED and node.name not in head]
    if not layers:
        raise ValueError("the encoder has no convolution and no linear layer to quantise; leave out --int8")
    log = logging.getLogger()
    before = log.level
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, whole)
        log.setLevel(logging.ERROR)  # it advises a step of preparation that these graphs do not need
        try:
            quantize_static(
                str(whole),
                str(small),
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=layers,
                op_types_to_quantize=list(QUANTISED),
            )
        finally:
            log.setLevel(before)
        found = onnx.load(small)
    found.producer_name, found.producer_version = graph.producer_name, graph.producer_version
    facts = {each.key: each.value for each in graph.metadata_props} | {"precision": "int8"}
    onnx.helper.set_model_props(found, facts)
    return found


def after(graph: Any, name: str) -> set[str]:
    """Return the names of the nodes that depend on a value."""
    values, nodes = {name}, set[str]()
    for node in graph.graph.node:  # in the order of computation
        if values & set(node.input):
            nodes.add(node.name)
            values |= set(node.output)
    return nodes
