"""The authors' checkpoint of PRIMUS becomes one of Otolith's, or is refused with a reason and nothing is written."""

import dataclasses
import hashlib
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from otolith import objectives
from otolith.checkpoints import checkpoint, published
from otolith.checkpoints.published import import_primus
from otolith.cli import main
from otolith.data.cutting import cut
from otolith.data.store import Store
from otolith.evaluation.plan import fold_seeds, planned_rows
from otolith.evaluation.protocol import evaluate
from published_files import SHAPES, layout, weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "best_model.ckpt"
    torch.save(layout(), path)
    return path


GOLDEN = {  # first four values of row 0, sums of rows 0 and 1, length of row 0: the authors' classes on these weights
    (250, "emb"): ([0.139893, 0.165775, 0.316196, 0.421046], 25.125673, 25.043131, 6.275449),
    (250, "ssl"): ([0.305921, 0.141489, -0.047292, -0.253113], 0.368736, 0.373383, 12.537233),
    (250, "mmcl"): ([-0.739931, -0.733705, -0.684869, -0.582828], -1.103941, -1.107415, 12.566099),
    (1000, "emb"): ([0.083458, 0.221701, 0.279765, 0.438396], 25.168409, 25.089541, 6.281092),
    (1000, "mmcl"): ([-0.739259, -0.733105, -0.684380, -0.582483], -1.102990, -1.103288, 12.555238),
}


@pytest.mark.parametrize(("steps", "output"), GOLDEN)
def test_what_was_imported_computes_what_the_authors_classes_do(file: Path, steps: int, output: str) -> None:
    made = import_primus(file, file.with_name("primus.safetensors"), sha256=None)
    window, channel, t = torch.meshgrid(*(torch.arange(n).double() for n in (2, 6, steps)), indexing="ij")
    x = (torch.sin(math.pi * (channel + 1) * t / 50 + window) + 0.1 * channel).float()
    head = nn.Linear(512, 512) if output != "emb" else nn.Identity()
    head.load_state_dict(made.heads.get(f"{output}_head", {}))
    rows = head(made.encoder(x)).detach().double()
    first, zero, one, length = GOLDEN[steps, output]
    assert rows[0, :4].tolist() == pytest.approx(first, abs=1e-5)
    assert [*rows.sum(dim=1).tolist(), rows[0].norm().item()] == pytest.approx([zero, one, length], abs=1e-5)


def test_the_checkpoint_has_papers_and_its_objective_can_be_built(file: Path) -> None:
    out = file.with_name("primus.safetensors")
    made = import_primus(file, out, sha256=None)
    assert out.stat().st_size < 6e6
    assert made.signal.rate_hz == 50 and made.signal.seconds == 5 and len(made.signal.channels) == 6
    about = made.about
    assert (about["pretrained_on"], about["subjects"], about["licence"]) == ("ego-exo4d", [], "CC-BY-4.0")
    assert about["from"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert about["temperatures"] == {"ssl": pytest.approx(0.09), "mmcl": pytest.approx(0.08)}
    assert about["paired"]["text"]["dim"] == 512
    objective = objectives.Primus(made.encoder, **about["objective_arguments"])
    for head in objective.kept:
        checkpoint.check_fit(getattr(objective, head), made.heads[head], what=head)
    trained = sum(value.numel() for value in made.encoder.parameters())
    assert trained + sum(value.numel() for head in made.heads.values() for value in head.values()) == 1_376_204


def test_two_processes_evaluate_what_was_imported_as_one_does(file: Path, store: Store, tmp_path: Path) -> None:
    out = file.with_name("primus.safetensors")
    windows = cut(store, channels=list(import_primus(file, out, sha256=None).signal.channels), seconds=5.0)[::3]
    planned = planned_rows(
        windows,
        fold_seeds(windows, folds=2, seeds=(0,)),
        lambda _: out,
        shots=[2],
        modes=["frozen", "finetune"],
        transfer={"head": {"name": "mlp"}, "training": {"steps": 2, "batch_size": 8}},
    )
    one, two = (
        {
            row.fingerprint: dataclasses.replace(row, seconds=0.0)
            for row in evaluate(windows, planned, folder=tmp_path / f"{jobs}", jobs=jobs)
        }
        for jobs in (1, 2)
    )
    assert one == two and len(one) == 4
    assert {row.checkpoint for row in one.values()} == {checkpoint.load(out).sha256[:16]}
    assert {(row.encoder, row.pretrained_on) for row in one.values()} == {("primus", "ego-exo4d")}


def test_the_hash_is_compared_first(file: Path) -> None:
    out = file.with_name("primus.safetensors")
    with pytest.raises(
        ValueError, match=r"is not the published file: its SHA-256 is .*, expected 66392f3cebf1dcbe\.\.\."
    ):
        import_primus(file, out)
    assert len(published.PRIMUS_SHA256) == 64 and not out.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backbone.0.bias": None}, "missing backbone.0.bias$"),
        ({"backbone.6.weight": torch.ones(2)}, "unexpected backbone.6.weight$"),
        ({"ssl_head.bias": torch.ones(4)}, r"ssl_head.bias is \(4,\) instead of \(512,\)"),
        (
            {"mmcl_head.bias": None, "gru.x": torch.ones(2)},
            "missing mmcl_head.bias; unexpected gru.x",
        ),
        ({"ssl_head.bias": torch.full((512,), float("nan"))}, "ssl_head.bias' in .* is not a tensor of finite numbers"),
        ({"ssl_head.bias": torch.ones(512, dtype=torch.long)}, "is not a tensor of finite numbers"),
        ({"ssl_head.bias": "text"}, "is not a tensor of finite numbers"),
        (dict.fromkeys(SHAPES), "holds no weights under 'imu_encoder.'"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused_by_name(changed: dict, message: str, tmp_path: Path) -> None:
    path, out = tmp_path / "other.ckpt", tmp_path / "primus.safetensors"
    torch.save(layout(**changed), path)
    with pytest.raises(ValueError, match=message):
        import_primus(path, out, sha256=None)
    assert [p.name for p in tmp_path.iterdir()] == ["other.ckpt"]


def test_half_precision_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "half.ckpt"
    torch.save(layout(**{name: value.bfloat16() for name, value in weights().items()}), path)
    made = import_primus(path, tmp_path / "primus.safetensors", sha256=None)
    assert torch.equal(made.encoder.convolutions[1].weight, weights()["backbone.1.net.0.weight"].bfloat16().float())


@pytest.mark.parametrize("damage", ["empty", "text", "half", "list", "no state", "names"])
def test_what_is_no_checkpoint_is_refused(damage: str, file: Path) -> None:
    out = file.with_name("primus.safetensors")
    whole = file.read_bytes()
    if damage in ("list", "no state", "names"):
        torch.save(
            {"list": [torch.ones(2)], "no state": {"a": torch.ones(2)}, "names": {"state_dict": {3: 4}}}[damage], file
        )
    else:
        file.write_bytes({"empty": b"", "text": b"not a checkpoint", "half": whole[: len(whole) // 2]}[damage])
    with pytest.raises(ValueError, match=r"cannot be read as a checkpoint|holds no state_dict"):
        import_primus(file, out, sha256=None)
    assert not out.exists()


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    for name, value in (("a.ckpt", Payload()), ("b.ckpt", {**layout(), "callbacks": Payload()})):
        torch.save(value, tmp_path / name)
        with pytest.raises(ValueError, match="cannot be read as a checkpoint that holds weights alone"):
            import_primus(tmp_path / name, tmp_path / "primus.safetensors", sha256=None)
    (tmp_path / "c.ckpt").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="cannot be read as a checkpoint that holds weights alone"):
        import_primus(tmp_path / "c.ckpt", tmp_path / "primus.safetensors", sha256=None)
    assert not (tmp_path / "executed").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no file at .*nowhere.ckpt'; expected best_model.ckpt of https://zenodo"
    ):
        import_primus(tmp_path / "nowhere.ckpt", tmp_path / "out")


def test_the_command_writes_the_checkpoint(file: Path) -> None:
    out = file.with_name("mine.safetensors")
    done = CliRunner().invoke(main.app, ["import-primus", str(file), "--out", str(out)])
    assert done.exit_code == 1 and not out.exists()
    done = CliRunner().invoke(main.app, ["import-primus", str(file), "--out", str(out), "--any-hash"])
    assert done.exit_code == 0 and "CC-BY-4.0; please cite: Das" in done.output
    assert type(checkpoint.load(out).encoder).__name__ == "Primus"
