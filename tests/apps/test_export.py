"""Exported graphs agree with their models, say what they are, and run without torch."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from otolith.apps.export import (
    compared,
    export,
    graph_of,
    load_model,
    network_of,
    random_sample,
    read_sample,
    signal_of,
)
from otolith.apps.export.graph import outputs_of
from otolith.checkpoints import checkpoint
from otolith.classifiers.baselines import ForestClassifier, load_classifier
from otolith.classifiers.rejection import Rejection
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.encoders import DeepConvLSTM, Strided

onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")

exporting = importlib.import_module("otolith.apps.export.export")  # the package has a function of this name
ROOT = Path(__file__).parents[2]
FEW: dict[str, Any] = {"head": {"n_augmented_copies": 1, "self_training_rounds": 1}}


@pytest.fixture(scope="module")
def models(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that uses statistics, a forest and an encoder."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    encoder, few = Strided.for_windows(windows), windows.few_shot(10, seed=0)
    names = windows.label_names
    classifier = TransferClassifier.from_arguments(FEW, encoder).fit(few, unlabelled=windows[:200])
    classifier.save(folder / "classifier.safetensors", label_names=names)
    ForestClassifier(trees=10).fit(few).save(folder / "forest.safetensors", label_names=names)
    checkpoint.save(folder / "encoder.safetensors", encoder, windows.contract, about={"encoder": "strided"})
    return folder


def ran(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"windows": x}), strict=True))


@pytest.mark.parametrize("kind", ["classifier", "forest", "encoder"])
def test_a_graph_says_what_its_model_says_for_any_number_of_windows(
    models: Path, store: Store, tmp_path: Path, kind: str
) -> None:
    model = load_model(models / f"{kind}.safetensors")
    made = export(models / f"{kind}.safetensors", tmp_path / "model.onnx", windows=store.folder)
    (written,) = made.files
    assert written.file == tmp_path / "model.onnx" and written.size == written.file.stat().st_size
    assert max(written.compared.largest.values()) <= 1e-4 and written.compared.equal_labels in (1.0, None)
    sample = read_sample(store.folder, signal_of(model))
    if kind != "encoder":
        own, windows = ran(written.file, sample.x[:50])["probabilities"], torch.from_numpy(sample.x[:50])
        np.testing.assert_allclose(own, model.predict_proba(windows), atol=5e-3)  # the model itself rounds at 32 bits
    for count in (1, 7):
        x = sample.x[:count]
        found, expected = ran(written.file, x), outputs_of(model, x)
        assert list(found) == (["features"] if kind == "encoder" else ["probabilities", "features"])
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-4, rtol=1e-4)


def test_the_file_says_what_it_takes_and_what_it_gives(models: Path, windows: Windows, tmp_path: Path) -> None:
    path = models / "classifier.safetensors"
    export(path, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx")
    facts = {each.key: each.value for each in graph.metadata_props}
    assert json.loads(facts["classes"]) == list(windows.label_names)
    assert json.loads(facts["channels"]) == list(windows.contract.channels)
    assert json.loads(facts["units"]) == ["g"] * 3 + ["rad/s"] * 3
    assert float(facts["rate_hz"]) == 50 and float(facts["seconds"]) == 2 and int(facts["steps"]) == 100
    assert facts["model_sha256"] == checkpoint.load(path).sha256
    assert facts["kind"] == "classifier" and facts["precision"] == "float32"
    text = graph.SerializeToString()
    assert str(ROOT).encode() not in text and b"site-packages" not in text


def test_integers_are_calibrated_on_some_people_and_compared_on_others(
    models: Path, store: Store, tmp_path: Path
) -> None:
    path = models / "classifier.safetensors"
    made = export(path, tmp_path / "model.onnx", windows=store.folder, int8=True, least_equal=0.5)
    whole, small = made.files
    assert small.file == tmp_path / "model.int8.onnx" and small.size < whole.size
    assert small.compared.windows < whole.compared.windows
    graph = onnx.load(small.file)
    used = {node.op_type for node in graph.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= used
    assert {each.key: each.value for each in graph.metadata_props}["precision"] == "int8"
    calibration, others = read_sample(store.folder, signal_of(load_model(path))).halves()
    assert len(calibration.x) and len(others.x) and not set(calibration.person) & set(others.person)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("forest", {"int8": True}, "no weights to quantise: export it without --int8"),
        ("classifier", {"int8": True}, "name a prepared store or a folder of recordings with --windows"),
        ("classifier", {"least_equal": 2.0}, "expected a number from 0 to 1"),
        ("absent", {}, "no checkpoint at"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    models: Path, tmp_path: Path, kind: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        export(models / f"{kind}.safetensors", tmp_path / "model.onnx", **settings)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_differs_is_not_written(
    models: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = exporting.outputs_of
    monkeypatch.setattr(exporting, "outputs_of", lambda model, x: {k: v * 0.999 for k, v in whole(model, x).items()})
    with pytest.raises(ValueError, match=r"differ from the model's by .* nothing was written"):
        export(models / "classifier.safetensors", tmp_path / "model.onnx", windows=store.folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["classifier", "forest"])
def test_a_graph_says_what_is_unknown(models: Path, windows: Windows, store: Store, tmp_path: Path, kind: str) -> None:
    model = load_classifier(models / f"{kind}.safetensors")
    train, others = windows.for_subjects(["1", "2", "3"]), windows.for_subjects(["4", "5", "6"])
    known = Rejection.fitted(train.array(), np.asarray(train.y), len(model.classes_))
    judged = model.predict_proba(others), known.distance(others.array())
    model.rejection_ = known.calibrate(*judged, np.asarray(others.y), others.subject)
    assert abs(float(known.temperature) - 1) > 0.01
    names = {} if kind == "classifier" else {"label_names": None}
    model.save(tmp_path / "model.safetensors", **names)
    made = export(tmp_path / "model.safetensors", tmp_path / "model.onnx", windows=store.folder)
    assert (
        made.files[0].compared.equal_unknown or 0
    ) > 0.99  # forests have few probabilities, which may lie on the threshold
    facts = made.metadata
    far = np.concatenate([train.array()[:20].numpy(), 3 * train.array()[:20].numpy()])
    found = ran(tmp_path / "model.onnx", far)
    beyond = (found["distances"] > json.loads(facts["most_distance"])).any(axis=1)
    beyond |= found["probabilities"].max(axis=1) < float(facts["least_probability"])
    tempered = model.rejection_.tempered(model.predict_proba(torch.from_numpy(far)))
    expected = model.rejection_.beyond(tempered, known.distance(torch.from_numpy(far)))
    assert (beyond == expected).mean() > 0.97 and expected[20:].all() and not expected[:20].all()


def test_the_network_of_a_model_is_what_its_graph_computes(models: Path, store: Store, tmp_path: Path) -> None:
    model = load_model(models / "classifier.safetensors")
    network, outputs = network_of(model)
    x = read_sample(store.folder, signal_of(model)).x[:5]
    with torch.no_grad():
        found = network(torch.from_numpy(x))
    expected = outputs_of(model, x)
    assert outputs == list(expected) == ["probabilities", "features"]
    for one, two in zip(found, expected.values(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-3, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")  # those of the converter's own code
def test_a_classifier_without_statistics_converts_to_litert(windows: Windows, tmp_path: Path) -> None:
    """litert-torch is no dependency; models with statistics do not convert, because of their Fourier transform."""
    litert_torch = pytest.importorskip("litert_torch", reason="litert-torch is not installed")
    torch.manual_seed(0)
    plain = {"head": {**FEW["head"], "use_statistics": False}}
    classifier = TransferClassifier.from_arguments(plain, Strided.for_windows(windows)).fit(
        windows.few_shot(10, seed=0)
    )
    classifier.save(tmp_path / "model.safetensors", label_names=windows.label_names)
    network, _ = network_of(load_model(tmp_path / "model.safetensors"))
    x = windows.array()
    converted = litert_torch.convert(network, (x[:1],))
    converted.export(str(tmp_path / "model.tflite"))
    for row in range(5):
        with torch.no_grad():
            expected = network(x[row : row + 1])
        for one, two in zip(converted(x[row : row + 1]), expected, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-4)


def test_a_store_of_another_rate_is_refused(models: Path, store: Store) -> None:
    signal = signal_of(load_model(models / "encoder.safetensors"))
    other = type(signal)(25.0, signal.channels, signal.seconds)
    with pytest.raises(ValueError, match="does not fit the model: rate 50 Hz instead of 25 Hz"):
        read_sample(store.folder, other)


def test_labels_that_differ_are_counted() -> None:
    expected = {"probabilities": np.array([[0.9, 0.1], [0.4, 0.6]]), "features": np.eye(2)}
    found = {"probabilities": np.array([[0.8, 0.2], [0.6, 0.4]]), "features": np.eye(2) * 2}
    same = compared(expected, found)
    assert same.equal_labels == 0.5 and same.largest["probabilities"] == pytest.approx(0.2)
    assert same.largest["features"] == 1 and same.cosine == pytest.approx(1)


def test_the_batch_of_a_recurrent_encoder_may_have_any_size(windows: Windows, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "encoder.safetensors"
    checkpoint.save(path, DeepConvLSTM.for_windows(windows), windows.contract, about={})
    model = load_model(path)
    onnx.save(graph_of(model, "0"), tmp_path / "encoder.onnx")
    x = random_sample(windows.contract).x[:5]
    np.testing.assert_allclose(
        ran(tmp_path / "encoder.onnx", x)["features"], outputs_of(model, x)["features"], atol=1e-4, rtol=1e-4
    )


def test_the_example_labels_a_file_without_torch(models: Path, store: Store, tmp_path: Path) -> None:
    export(models / "classifier.safetensors", tmp_path / "model.onnx")
    entry = store.entries[0]
    table = pd.DataFrame(store.signal(entry), columns=["x", "y", "z", "gx", "gy", "gz"])
    table[["x", "y", "z"]] *= 9.80665
    table.assign(time=np.arange(len(table)) / 50).to_csv(tmp_path / "mine.csv", index=False)
    script = ROOT / "examples" / "onnx" / "label.py"
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')\n"
    code += "assert not {'torch', 'otolith', 'sklearn'} & set(sys.modules)"
    words = [sys.executable, "-c", code, str(script), "model.onnx", "mine.csv", "--acc-unit", "m/s2"]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    lines = [line.split(",") for line in found.stdout.splitlines()]
    assert lines[0] == ["start_s", "end_s", "label", "probability"]
    assert float(lines[1][0]) == 0 and float(lines[-1][1]) == 20
    model = load_model(models / "classifier.safetensors")
    x = torch.from_numpy(store.signal(entry)).unfold(0, 100, 100).contiguous()
    expected = [str(label) for label in model.predict(x)]
    labels = [label for start, end, label, _ in lines[1:] for _ in range(round((float(end) - float(start)) / 2))]
    assert labels == expected
