"""Two processes train as one: gradients through gathered rows, and whole pretraining runs, as torchrun starts them."""

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from otolith import encoders, objectives
from otolith.checkpoints import checkpoint
from otolith.checkpoints.published import import_primus
from otolith.data.cutting import cut
from otolith.data.sampling import Batch
from otolith.data.store import Store, open_store
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.objectives import Objective, Reconstruction, SimCLR
from otolith.objectives.contrast import gather_rows, nt_xent
from otolith.pretraining import Runtime, pretrain
from published_files import layout

PAIRED = {"text": 5, "sound": 7}

# Nothing random but the start that cpc draws, which all processes must draw alike.
OBJECTIVES = {
    "cpc": lambda: objectives.CPC(encoders.CPC(6, dropout=0.0), future_steps=8),
    "cpc_reconstruction": lambda: objectives.CPCReconstruction(encoders.CPC(6, dropout=0.0), future_steps=8, steps=50),
    "primus": lambda: objectives.Primus(
        Strided(6), paired=PAIRED, heads="own", width=8, queue=40, neighbours=2, augmentations=[{"name": "negation"}]
    ),
    "primus_motion": lambda: objectives.Primus(
        Strided(6), paired={}, alpha=1.0, width=8, queue=40, augmentations=[{"name": "negation"}]
    ),
    "reconstruction": lambda: Reconstruction(Strided(6), steps=50),
    "simclr": lambda: SimCLR(Strided(6), augmentations=[{"name": "negation"}], temperature=0.5),
    "transform_discrimination": lambda: objectives.TransformDiscrimination(
        Strided(6), transforms=[{"name": "negation"}, {"name": "time_flip"}]
    ),
}


def train(name: str, folder: Path, *, state: Path | None = None, records: int | None = None) -> dict:
    """The weights and the validation losses of a short run, or of its first few records."""
    torch.manual_seed(0)
    objective: Objective = OBJECTIVES[name]()
    windows = cut(open_store(folder), seconds=1.0)
    sides = (
        windows.for_subjects(["1", "2", "3"])[::7],
        windows.for_subjects(["4"])[::7],
    )  # 51 and 17 windows: both end in an odd batch
    sides = tuple(with_pairs(side) for side in sides)
    often = Runtime(accelerator="cpu", report_every=1, save_every_s=0.0, resume=state)
    steps = pretrain(objective, *sides, epochs=2, batch_size=16, runtime=often)
    reported = [step.validation for step in itertools.islice(steps, records) if step.validation is not None]
    steps.close()
    return {"weights": objective.state_dict(), "validation": reported}


def with_pairs(windows: Windows) -> Windows:
    """Half of the windows have words, half have sound."""
    generator = torch.Generator().manual_seed(len(windows))
    paired = {name: torch.randn(len(windows), dim, generator=generator) for name, dim in PAIRED.items()}
    present = {name: torch.rand(len(windows), generator=generator) < 0.5 for name in PAIRED}
    return dataclasses.replace(windows, paired=paired, present=present)


def primus(rank: int, world: int) -> list[dict]:
    """Losses, gradients and queue of PRIMUS after each of four steps, on this process's share of joint batches of 8."""
    torch.manual_seed(0)
    settings = {"heads": "own", "width": 6, "queue": 12, "neighbours": 2, "lookup": {"min_similarity": 0.0}}
    views = [{"name": "negation"}]
    objective, results = objectives.Primus(Strided(3), paired=PAIRED, augmentations=views, **settings), []
    for number in range(4):
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(8, 3, 20, generator=generator)
        paired = {name: torch.randn(8, dim, generator=generator) for name, dim in PAIRED.items()}
        present = {name: torch.rand(8, generator=generator) < 0.8 for name in PAIRED}
        present["sound"][1::2] &= number != 3  # once one process has next to nothing and the other all
        mine = slice(rank, None, world)  # as the loop deals them out
        tables = [{name: rows[mine] for name, rows in table.items()} for table in (paired, present)]
        losses = objective(Batch(x[mine], torch.zeros(8 // world, dtype=torch.long), *tables))
        objective.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        gradients = {name: value.grad for name, value in objective.named_parameters()}
        queue = {name: value.clone() for name, value in objective.named_buffers() if "queue" in name}
        results.append({"losses": {n: v.detach() for n, v in losses.items()}, "gradients": gradients, "queue": queue})
    return results


def published(rank: int, world: int, path: Path) -> dict:
    """Losses, gradients and queue in the second step of PRIMUS on imported weights, on joint batches of 4."""
    made = checkpoint.load(path)
    objective = objectives.Primus(made.encoder, augmentations=[{"name": "negation"}], queue=6)
    for head in objective.kept:
        getattr(objective, head).load_state_dict(made.heads[head])
    mine = slice(rank, None, world)
    for number in range(2):
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(4, 6, 250, generator=generator)[mine]
        paired = {name: torch.randn(4, 512, generator=generator)[mine] for name in ("video", "text")}
        present = {name: torch.ones(len(x), dtype=torch.bool) for name in paired}
        losses = objective(Batch(x, torch.zeros(len(x), dtype=torch.long), paired, present))
    torch.stack(list(losses.values())).sum().backward()
    return {
        "losses": {name: value.detach() for name, value in losses.items()},
        "gradients": {name: value.grad for name, value in objective.named_parameters()},
        "queue": {name: value for name, value in objective.named_buffers() if "queue" in name},
    }


def gradients(one: Tensor, two: Tensor) -> dict:
    """The loss of these rows under a small model, and the gradients of its parameters."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4))
    loss = nt_xent(model(one), model(two), 0.3)
    loss.backward()
    return {"loss": loss.detach(), "gradients": [value.grad for value in model.parameters()]}


def rows() -> tuple[Tensor, Tensor]:
    one, two = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    return one, two


def _as_one_of_two(folder: str, results: str) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    result = {name: train(name, Path(folder)) for name in OBJECTIVES}  # the first run joins the processes
    state = Path(results) / "state"
    train("simclr", Path(folder), state=state, records=5)  # interrupted in its second epoch
    result["resumed"] = train("simclr", Path(folder), state=state)
    mine = slice(3 * rank, 3 * rank + 3)
    result["nt_xent"] = gradients(*(part[mine] for part in rows()))
    result["primus_steps"] = primus(rank, 2)
    result["published"] = published(rank, 2, Path(results) / "primus.safetensors")
    x, local = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    (local * 1.0 + gather_rows(x * (rank + 1))).square().sum().backward()
    result["gathered"] = {"x": x.grad, "local": local.grad}
    torch.save(result, Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published weights, as an Otolith checkpoint."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(layout(), folder / "best_model.ckpt")
    import_primus(folder / "best_model.ckpt", folder / "primus.safetensors", sha256=None)
    return folder / "primus.safetensors"


@pytest.fixture(scope="module")
def both(store: Store, imported: Path) -> tuple[dict, dict]:
    """What the two processes found."""
    results = imported.parent
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, __file__, str(store.folder), str(results)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return torch.load(results / "0.pt"), torch.load(results / "1.pt")


def test_nt_xent_over_two_processes_equals_one_on_the_joint_batch(both: tuple[dict, dict]) -> None:
    expected = gradients(*rows())
    for rank in both:
        torch.testing.assert_close(rank["nt_xent"]["loss"], expected["loss"])
    for joint, *parts in zip(expected["gradients"], *(rank["nt_xent"]["gradients"] for rank in both), strict=True):
        assert not torch.allclose(parts[0], joint)  # one process alone has not seen all of it
        torch.testing.assert_close((parts[0] + parts[1]) / 2, joint)  # the mean that distributed training takes


def test_primus_over_two_processes_equals_one_on_the_joint_batch(both: tuple[dict, dict]) -> None:
    for number, expected in enumerate(primus(0, 1)):
        one, two = (rank["primus_steps"][number] for rank in both)
        assert one["losses"].keys() == expected["losses"].keys() and len(expected["losses"]) == 6
        for name, value in expected["losses"].items():
            torch.testing.assert_close(one["losses"][name], value)
            torch.testing.assert_close(two["losses"][name], value)
        for name, joint in expected["gradients"].items():
            parts = one["gradients"][name], two["gradients"][name]
            torch.testing.assert_close((parts[0] + parts[1]) / 2, joint, rtol=1e-4, atol=1e-5)
        for name, value in expected["queue"].items():
            assert torch.equal(one["queue"][name], two["queue"][name])
            torch.testing.assert_close(one["queue"][name], value)
    assert int(expected["queue"]["queue_written"]) == 12 and expected["losses"]["nn_text"] > 0


def test_weights_that_were_imported_train_in_two_processes_as_in_one(both: tuple[dict, dict], imported: Path) -> None:
    expected, (one, two) = published(0, 1, imported), (rank["published"] for rank in both)
    assert expected["losses"].keys() == {"ssl", "mm_video", "mm_text", "nn_ssl", "nn_video", "nn_text"}
    for rank in (one, two):
        for name, value in expected["losses"].items():
            torch.testing.assert_close(rank["losses"][name], value)
    for name, joint in expected["gradients"].items():
        mean = (one["gradients"][name] + two["gradients"][name]) / 2
        rounding = 5e-5 if name == "ssl_temperature" else 1e-5  # its gradient is a sum that cancels
        torch.testing.assert_close(mean, joint, rtol=1e-3, atol=rounding)
    for name, value in expected["queue"].items():
        assert torch.equal(one["queue"][name], two["queue"][name])
        torch.testing.assert_close(one["queue"][name], value)


def test_gathering_changes_no_gradient_but_that_of_its_rows(both: tuple[dict, dict]) -> None:
    for rank, result in enumerate(both):
        joint = torch.tensor([2.0, 2.0, 3.0, 3.0])[:, None].expand(4, 3)  # ranks 0 and 1: 1 + 1 and 2 + 1
        torch.testing.assert_close(result["gathered"]["local"], 2 * joint)
        mine = joint[2 * rank : 2 * rank + 2]
        torch.testing.assert_close(result["gathered"]["x"], 2 * (rank + 1) * 2 * mine)  # both ranks' losses count


@pytest.mark.parametrize("name", OBJECTIVES)
def test_pretraining_in_two_processes_ends_as_in_one(name: str, both: tuple[dict, dict], store: Store) -> None:
    alone = train(name, store.folder)
    assert len(alone["validation"]) == 2
    assert both[0][name]["validation"] == both[1][name]["validation"]
    assert both[0][name]["validation"] == pytest.approx(alone["validation"], rel=1e-4)
    for key, expected in alone["weights"].items():
        assert torch.equal(both[0][name]["weights"][key], both[1][name]["weights"][key])
        # A weight has moved by about lr = 1e-3 per step, in six steps; Adam enlarges rounding where a gradient is near 0.
        torch.testing.assert_close(both[0][name]["weights"][key], expected, rtol=0, atol=2e-4)


def test_interrupted_two_processes_end_with_the_same_bits(both: tuple[dict, dict]) -> None:
    for rank in both:
        assert rank["resumed"]["validation"] == rank["simclr"]["validation"][1:]
        for key, expected in rank["simclr"]["weights"].items():
            assert torch.equal(rank["resumed"]["weights"][key], expected)


if __name__ == "__main__":
    _as_one_of_two(*sys.argv[1:])
