"""A checkpoint comes back as it was saved, or is refused with a reason."""

import contextlib
import json
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from forging import save_forged
from otolith.checkpoints import checkpoint, provenance
from otolith.data.windows import SignalSpec
from otolith.encoders import CPC, ENCODERS, Encoder, Strided
from otolith.storage import tensors

SIGNAL = SignalSpec(50.0, ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"), 2.0)
STATISTICS = {"mean": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "std": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good checkpoint of a small encoder with a head."""
    torch.manual_seed(0)
    file = tmp_path / "encoder.safetensors"
    checkpoint.save(file, Strided(6, **STATISTICS), SIGNAL, about={"subjects": ["a:1"]}, heads={"odd": nn.Linear(2, 3)})
    return file


def rewrite(path: Path, header: dict[str, Any] | str | None = None, **tensors: torch.Tensor | None) -> None:
    """Writes the file again with another header, or with weights exchanged, added or (None) taken away."""
    with safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        text = file.metadata()["otolith"]
    kept = {name: value for name, value in {**kept, **tensors}.items() if value is not None}
    if header is not None:
        text = header if isinstance(header, str) else json.dumps(header)
    save_forged(kept, path, text)


def header(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["otolith"])


@pytest.mark.parametrize("name", ENCODERS)
def test_everything_comes_back_to_the_bit(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder: Encoder = ENCODERS[name](6, **STATISTICS, dropout=0.3)
    head = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    about = {"objective": "simclr", "subjects": ["a:1", "a:2"], "nested": {"lr": 1e-3, "none": None}}
    file = tmp_path / "new" / "encoder.safetensors"
    checkpoint.save(file, encoder, SIGNAL, about=about, heads={"head": head, "other": nn.Linear(2, 2)})
    loaded = checkpoint.load(file)
    assert type(loaded.encoder) is type(encoder) and not loaded.encoder.training
    assert loaded.encoder.arguments() == encoder.arguments() and loaded.signal == SIGNAL
    x = torch.randn(4, 6, 128)
    assert torch.equal(loaded.encoder(x), encoder.eval()(x))
    for key, value in encoder.state_dict().items():
        assert torch.equal(loaded.encoder.state_dict()[key], value)
    assert {key: loaded.about[key] for key in about} == about
    assert loaded.about["made_by"] == provenance.provenance()
    assert loaded.heads.keys() == {"head", "other"} and loaded.heads["head"].keys() == head.state_dict().keys()
    assert all(torch.equal(loaded.heads["head"][key], value) for key, value in head.state_dict().items())


def test_the_hash_is_that_of_the_file_and_tells_checkpoints_apart(path: Path) -> None:
    before = checkpoint.load(path).sha256
    assert checkpoint.load(path).sha256 == before
    rewrite(path, **{"head.odd.bias": torch.ones(3)})
    assert checkpoint.load(path).sha256 != before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at '.*nowhere.safetensors'; `otolith pretrain`"):
        checkpoint.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(share: float, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        checkpoint.load(path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    for name, write in (
        ("plain", lambda file: file.write_bytes(pickle.dumps(Payload()))),
        ("torch", _torch(Payload())),
    ):
        file = tmp_path / f"{name}.safetensors"
        write(file)
        with pytest.raises(ValueError, match="is not a complete safetensors file"):
            checkpoint.load(file)
    assert not (tmp_path / "executed").exists()
    pickle.loads((tmp_path / "plain.safetensors").read_bytes())  # the payload is live
    assert (tmp_path / "executed").exists()


def _torch(payload: object) -> Any:
    return lambda file: torch.save(payload, file)


def test_weights_of_another_program_are_refused(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="holds tensors but no Otolith header"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "checkpoint format 99; this version of Otolith reads format 1"),
        ({"format": None}, "checkpoint format None"),
        ({"encoder.name": "restnet"}, "unknown encoder 'restnet'"),
        ({"encoder.name": ["cpc"]}, ""),
        ({"encoder": "strided"}, "string indices"),
        ({"encoder.arguments": [6]}, ""),
        ({"encoder.arguments.surprise": 1}, "surprise"),
        ({"encoder.arguments.dropout": 7.0}, "dropout"),
        ({"encoder.arguments.std": [0.0] * 6}, "expected positive numbers"),
        ({"encoder.arguments.std": [1e999] * 6}, "expected positive numbers"),
        ({"encoder.arguments.mean": [float("nan")] * 6}, "expected finite numbers"),
        (
            {"encoder.arguments.mean": None, "encoder.arguments.channels": 3},
            "3 channels in the encoder, 6 in the signal",
        ),
        ({"signal.units": ["g"] * 6}, "units"),
        ({"signal.channels": [1, 2]}, ""),
        ({"signal.channels": ["speed"] * 6}, "speed"),
        ({"signal.seconds": 0}, "windows of 0.0 s at 50.0 Hz"),
        ({"signal.rate_hz": float("nan")}, "at nan Hz"),
        ({"signal.rate_hz": None}, ""),
        ({"about": 5}, ""),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(change: dict[str, Any], message: str, path: Path) -> None:
    altered = header(path)
    for place, value in change.items():
        *parents, key = place.split(".")
        inner = altered
        for parent in parents:
            inner = inner[parent]
        inner[key] = value
    rewrite(path, altered)
    with pytest.raises(ValueError, match=f"the header of .* cannot be used: .*{message}"):
        checkpoint.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "[" * 100_000, '{"format": 1}'])
def test_a_header_of_another_shape_is_refused(text: str, path: Path) -> None:
    rewrite(path, text)
    with pytest.raises(ValueError, match=r"the header of .* cannot be used"):
        checkpoint.load(path)


@contextlib.contextmanager
def little_memory(more: int = 1 << 30) -> Iterator[None]:
    """Inside, the process can have 1 GB more than it has, so that a failing test does not exhaust the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory limit is set the way of Linux")
@pytest.mark.parametrize(
    ("arguments", "channels", "message"),
    [
        ({"channels": 10**9, "mean": None, "std": None}, None, "1000000000 channels in the encoder, 6 in the signal"),
        ({"channels": 10**9, "mean": None, "std": None}, ["acc_x"], "1000000000 channels in the encoder, 1 in the"),
        ({"channels": -1, "mean": None, "std": None}, None, "-1 channels in the encoder"),
        ({"kernel": 10**9 + 1}, None, r"do not fit .*\(32, 6, 3\) instead of \(32, 6, 1000000001\)"),
        ({"kernel": 10**30 + 1}, None, "cannot be used"),
        ({"kernel": -1}, None, "kernel is -1"),
        ({"kernel": "three"}, None, "cannot be used"),
    ],
)
def test_absurd_sizes_are_refused_before_they_cost_memory(
    arguments: dict[str, Any], channels: list[str] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "absurd.safetensors"
    checkpoint.save(path, CPC(6), SIGNAL, about={})
    altered = header(path)
    altered["encoder"]["arguments"].update(arguments)
    if channels:
        altered["signal"].update(channels=channels, units=["g"])
    rewrite(path, altered)
    with little_memory(), pytest.raises(ValueError, match=message):
        checkpoint.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["encoder.convolutions.0.bias", "head.odd.bias"])
def test_weights_that_are_not_finite_are_refused_and_named(name: str, value: float, path: Path) -> None:
    size = 64 if name.startswith("encoder") else 3
    rewrite(path, **{name: torch.full((size,), value)})
    with pytest.raises(ValueError, match=f"holds weights that are not finite: {name}"):
        checkpoint.load(path)


def test_weights_that_do_not_fit_are_all_listed(path: Path) -> None:
    changes = {"0.bias": None, "8.weight": None, "12.weight": torch.zeros(2), "0.weight": torch.zeros(64, 3, 7)}
    rewrite(path, stray=torch.zeros(1), **{f"encoder.convolutions.{name}": value for name, value in changes.items()})
    with pytest.raises(ValueError, match=r"weights do not fit encoder 'strided' in '.*encoder.safetensors'") as error:
        checkpoint.load(path)
    for problem in (
        "missing convolutions.0.bias",
        "missing convolutions.8.weight",
        "unexpected convolutions.12.weight",
        "unexpected stray",
        "convolutions.0.weight is (64, 3, 7) instead of (64, 6, 7)",
    ):
        assert problem in str(error.value)


def test_interrupted_while_saving_it_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(tensors: dict[str, torch.Tensor], part: Path, **_: Any) -> None:
        part.write_bytes(b"half of a")
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(tensors, "save_file", torn)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, Strided(6), SIGNAL, about={})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    class Unlisted(Encoder):
        def __init__(self, channels: int) -> None:
            super().__init__(channels, None, None)

        def features(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(1, 2)

        def pool(self, features: torch.Tensor) -> torch.Tensor:
            return features[:, 0]

        def blocks(self) -> list[torch.nn.Module]:
            return []

    with pytest.raises(ValueError, match=r"Unlisted is not in otolith\.encoders\.ENCODERS"):
        checkpoint.save(tmp_path / "unlisted.safetensors", Unlisted(6), SIGNAL, about={})
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoint.save(tmp_path / "unlisted.safetensors", Strided(6), SIGNAL, about={"loss": float("nan")})
    assert not list(tmp_path.iterdir())
