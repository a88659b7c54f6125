"""PRIMUS: equal to the authors' classes and to a slow loop, with a queue that is exact and part of the state."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from otolith import encoders
from otolith.data.augment import augment
from otolith.data.cutting import cut
from otolith.data.sampling import Batch
from otolith.data.store import Store, open_store
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.objectives import Objective, Primus
from otolith.objectives.contrast import info_nce, symmetric_info_nce
from otolith.pretraining import Runtime, pretrain

SIZES = {"text": 7, "sound": 9}


def small(seed: int = 0, **arguments: object) -> Primus:
    """A small objective: two modalities, each with its own head, and a queue of 10."""
    torch.manual_seed(seed)
    settings = {"paired": SIZES, "heads": "own", "width": 8, "queue": 10, **arguments}
    return Primus(Strided(3), **settings)


def drawn(count: int = 6, seed: int = 1, share: float = 0.7, sizes: dict[str, int] = SIZES) -> Batch:
    """Windows of 32 steps; `share` of them have a modality, and the embeddings of the others are random."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, 32, generator=generator)
    paired = {name: torch.randn(count, dim, generator=generator) for name, dim in sizes.items()}
    present = {name: torch.rand(count, generator=generator) < share for name in sizes}
    return Batch(x, torch.zeros(count, dtype=torch.long), paired, present)


def losses(objective: Objective, batch: Batch, seed: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return objective(batch)


# the encoder; its golden values are tested where weights of that layout are imported


def test_with_both_heads_it_has_as_many_parameters_as_published() -> None:
    objective = Primus(encoders.Primus(6))
    temperatures = 2
    assert sum(value.numel() for value in objective.parameters()) - temperatures == 1_376_204


def test_each_layer_has_the_shape_that_was_published() -> None:
    x, shapes = torch.randn(2, 6, 250), []
    for layer in encoders.Primus(6).convolutions:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(6, 250), (32, 232), (32, 77), (32, 69), (32, 23), (32, 15), (32, 32), (32, 32)]


@pytest.mark.parametrize("over", ["channels", "time"])
def test_the_gru_steps_over_channels_or_time(over: str) -> None:
    torch.manual_seed(0)
    encoder, x = encoders.Primus(6, over=over).eval(), torch.randn(3, 6, 250)
    maps = encoder.convolutions(x)
    given = torch.stack([maps[:, :, bin_] for bin_ in range(32)], dim=1) if over == "time" else maps
    assert torch.equal(encoder.features(x), given)
    hidden = torch.zeros(3, 512)
    w_x, w_h, b_x, b_h = encoder.gru.parameters()
    for step in range(32):
        from_x, from_h = given[:, step] @ w_x.T + b_x, hidden @ w_h.T + b_h
        (r_x, z_x, n_x), (r_h, z_h, n_h) = from_x.chunk(3, dim=1), from_h.chunk(3, dim=1)
        update = (z_x + z_h).sigmoid()
        hidden = (1 - update) * (n_x + (r_x + r_h).sigmoid() * n_h).tanh() + update * hidden
    torch.testing.assert_close(encoder(x), hidden, rtol=1e-5, atol=1e-6)


def test_weights_fit_both_orders_and_give_different_features() -> None:
    torch.manual_seed(0)
    published, other, x = encoders.Primus(6), encoders.Primus(6, over="time"), torch.randn(3, 6, 250)
    other.load_state_dict(published.state_dict())
    assert not torch.allclose(published(x), other(x), atol=1e-2)
    assert (published.arguments()["over"], other.arguments()["over"]) == ("channels", "time")


def test_scale_and_offset_of_a_sensor_have_no_effect() -> None:
    torch.manual_seed(0)
    encoder, x = encoders.Primus(6).eval(), torch.randn(3, 6, 250)
    metric = x.clone()
    metric[:, :3] = 9.80665 * x[:, :3] + 3
    torch.testing.assert_close(encoder(metric), encoder(x), rtol=1e-3, atol=1e-4)
    metric[:, 2] += 30  # one axis alone: another direction
    assert not torch.allclose(encoder(metric), encoder(x), atol=1e-2)


@pytest.mark.parametrize(
    ("channels", "groups", "expected"),
    [(6, None, 2), (3, None, 1), (9, None, 3), (8, None, 1), (1, None, 1), (8, 4, 4)],
)
def test_channels_are_normalised_by_sensor(channels: int, groups: int | None, expected: int) -> None:
    encoder = encoders.Primus(channels, groups=groups)
    assert encoder.convolutions[0].num_groups == expected
    assert encoder(torch.randn(2, channels, 130)).shape == (2, 512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 4}, "6 channels cannot form 4 groups"),
        ({"groups": 0}, "6 channels cannot form 0 groups"),
        ({"width": 0}, "width is 0"),
    ],
)
def test_invalid_arguments_of_the_encoder_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoders.Primus(6, **arguments)


# InfoNCE


def golden() -> tuple[Tensor, Tensor]:
    n = torch.arange(32, dtype=torch.float64)
    return (0.9 * n).sin().float().reshape(4, 8), (0.8 * n).cos().float().reshape(4, 8)


def test_one_direction_equals_the_authors_and_is_one_of_the_two_summed() -> None:
    query, key = (nn.functional.normalize(rows) for rows in golden())
    one, other = info_nce(query / 0.1, key), info_nce(key / 0.1, query)
    assert one.item() == pytest.approx(0.817248, abs=1e-5)
    torch.testing.assert_close(one + other, symmetric_info_nce(*golden(), 0.1))


@pytest.mark.parametrize(
    ("temperature", "mask", "expected"), [(0.1, None, 4.101235), (0.07, None, 5.179753), (0.1, [1, 0, 1, 1], 4.881736)]
)
def test_info_nce_equals_the_authors(temperature: float, mask: list[int] | None, expected: float) -> None:
    query, key = golden()
    counted = None if mask is None else torch.tensor(mask).bool()
    assert symmetric_info_nce(query, key, temperature, counted).item() == pytest.approx(expected, abs=1e-5)
    assert symmetric_info_nce(query, key, torch.tensor(temperature), counted).item() == pytest.approx(
        expected, abs=1e-5
    )


def test_info_nce_of_no_rows_is_zero_with_gradient() -> None:
    query, none = torch.randn(4, 8, requires_grad=True), torch.zeros(4, dtype=torch.bool)
    loss = symmetric_info_nce(query, torch.zeros(4, 8), 0.1, none, none)
    loss.backward()
    assert loss.item() == 0 and torch.equal(query.grad, torch.zeros(4, 8))


def test_missing_keys_are_no_negatives() -> None:
    torch.manual_seed(0)
    query, key, exists = torch.randn(5, 8), torch.randn(5, 8), torch.tensor([True, True, False, True, False])
    expected = symmetric_info_nce(query, key, 0.1, exists, exists)
    other = torch.where(exists[:, None], key, torch.randn(5, 8))
    torch.testing.assert_close(symmetric_info_nce(query, other, 0.1, exists, exists), expected)
    assert not torch.isclose(symmetric_info_nce(query, other, 0.1, exists), expected)


def test_info_nce_needs_two_windows() -> None:
    with pytest.raises(ValueError, match="at least 2 windows"):
        symmetric_info_nce(torch.ones(1, 4), torch.ones(1, 4), 0.1)


# the objective against slow loops


def cosine(one: Tensor, two: Tensor) -> float:
    return float(one @ two / (one.norm() * two.norm()))


def slow_nce(queries: list[Tensor], keys: list[list[Tensor | None]], temperature: float) -> float:
    """The mean over all keys that exist of both cross-entropies; `keys[task][row]`."""
    terms = []
    for task in keys:
        for row, key in enumerate(task):
            if key is None:
                continue
            own = cosine(queries[row], key) / temperature
            among_keys = sum(math.exp(cosine(queries[row], other) / temperature) for other in task if other is not None)
            among_queries = sum(math.exp(cosine(other, key) / temperature) for other in queries)
            terms.append(math.log(among_keys) - own + math.log(among_queries) - own)
    return sum(terms) / len(terms) if terms else 0.0


class Slow:
    """PRIMUS row by row: loops, and a list of past windows as queue."""

    def __init__(self, objective: Primus) -> None:
        self.objective, self.memory = objective, list[dict[str, Tensor]]()

    @torch.no_grad()
    def losses(self, batch: Batch, seed: int = 3) -> dict[str, float]:
        o = self.objective
        torch.manual_seed(seed)
        view, rows = augment(batch.x, o.augmentations), range(len(batch.x))
        embedded, again = o.encoder(batch.x), o.encoder(view)
        names = list(o.paired) if o.alpha < 1 else []

        def has(row: int, name: str) -> bool:
            return name in batch.paired and bool(batch.present[name][row])

        ssl = [o.ssl_head(embedded[row]) for row in rows]
        heads = {n: o.mmcl_head[n] if o.heads == "own" else o.mmcl_head for n in names}
        queries = {"ssl": ssl} | {n: [heads[n](embedded[row]) for row in rows] for n in names}
        keys = {"ssl": [o.ssl_head(again[row]) for row in rows]}
        keys |= {n: [batch.paired[n][row] if has(row, n) else None for row in rows] for n in names}
        temperature = {n: float(o.ssl_temperature if n == "ssl" else o.mmcl_temperature) for n in queries}
        weight = {n: o.alpha if n == "ssl" else 1 - o.alpha for n in queries}
        near: dict[str, list[list[Tensor | None]]] = {
            n: [[None] * len(rows) for _ in range(o.neighbours)] for n in queries
        }
        for row in rows:
            space = next((n for n in o.lookup["order"] if n in names and has(row, n)), "ssl")
            asked = ssl[row] if space == "ssl" else batch.paired[space][row]
            ranked = sorted(self.memory, key=lambda old: -cosine(asked, old[space]))
            if (most := o.lookup["max_similarity"]) is not None:
                ranked = [old for old in ranked if cosine(asked, old[space]) < most]
            for place, old in enumerate(ranked[: o.neighbours]):
                if (least := o.lookup["min_similarity"]) is None or cosine(asked, old[space]) >= least:
                    for n in queries:
                        near[n][place][row] = old[n]
        found = {}
        for n in queries:
            if weight[n] > 0:
                found["ssl" if n == "ssl" else f"mm_{n}"] = weight[n] * slow_nce(queries[n], [keys[n]], temperature[n])
        for n in queries if o.nearest else ():
            if weight[n] > 0:
                found[f"nn_{n}"] = o.nearest * weight[n] * slow_nce(queries[n], near[n], temperature[n])
        for row in rows:
            if all(has(row, n) for n in names):
                self.memory.append({"ssl": ssl[row], **{n: batch.paired[n][row] for n in names}})
        self.memory = self.memory[-o.queue :]
        return found


SETTINGS = [
    {},
    {"alpha": 0.3, "nearest": 0.5, "temperature": 0.4},
    {"alpha": 1.0},
    {"alpha": 0.0},
    {"nearest": 0.0},
    {"neighbours": 3},
    {"neighbours": 4, "lookup": {"min_similarity": 0.3}},
    {"lookup": {"max_similarity": 0.2}, "neighbours": 2},
    {"lookup": {"order": ["sound"]}},
    {"lookup": {"order": []}},
    {"queue": 3},
    {"paired": {"text": 8, "video": 8}, "heads": "shared"},
    {"paired": {}, "alpha": 1.0, "heads": "shared"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_term_equals_a_loop_over_windows_and_queue(settings: dict) -> None:
    objective = small(**settings)
    slow = Slow(objective)
    for number in range(5):  # the queue fills and its rows are replaced
        batch = drawn(6 if number < 4 else 4, seed=number, sizes=objective.paired)
        expected = slow.losses(batch)
        found = losses(objective, batch)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].item() == pytest.approx(value, rel=1e-4, abs=1e-5), (number, name)
        if objective.nearest:
            assert len(objective.queued("ssl")) == len(slow.memory)
    objective.eval()
    batch = drawn(6, seed=9, sizes=objective.paired)
    expected = slow.losses(batch)
    assert {name: value.item() for name, value in losses(objective, batch).items()} == pytest.approx(expected, rel=1e-4)


def test_only_one_view_is_augmented() -> None:
    objective, given = small(augmentations=[{"name": "negation"}]), []
    objective.encoder.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    batch = drawn()
    objective(batch)
    assert torch.equal(torch.cat(given), torch.cat([batch.x, -batch.x]))  # one call for both


def test_the_default_augmentations_are_the_published_ones() -> None:
    assert small().augmentations == [{"name": "scaling", "sd": 0.25}, {"name": "permutation", "pieces": 5}]


def test_each_term_can_be_used_without_the_others() -> None:
    everything, seen = small(), drawn(share=1.0)
    losses(everything, seen)  # fills the queue
    state, batch = {key: value.clone() for key, value in everything.state_dict().items()}, drawn(seed=2)
    expected = losses(everything, batch)
    for settings, names in (
        ({"alpha": 1.0, "nearest": 0.0}, {"ssl"}),
        ({"alpha": 0.0, "nearest": 0.0}, {"mm_text", "mm_sound"}),
        ({"nearest": 0.0}, {"ssl", "mm_text", "mm_sound"}),
        ({"alpha": 0.0}, {"mm_text", "mm_sound", "nn_text", "nn_sound"}),
    ):
        objective = small(**settings)
        own = objective.state_dict()
        objective.load_state_dict({key: state[key] for key in own})
        found = losses(objective, batch)
        assert found.keys() == names
        full = 0.5 if "alpha" in settings else 1  # the weight of what is left is 1 instead of 0.5
        for name in names:
            torch.testing.assert_close(full * found[name], expected[name])


@pytest.mark.parametrize(("alpha", "unused"), [(1.0, "mmcl"), (0.0, "ssl")])
def test_only_parameters_that_a_term_depends_on_are_trained(alpha: float, unused: str) -> None:
    objective = small(alpha=alpha)
    for number in range(2):
        torch.stack(list(losses(objective, drawn(share=1.0, seed=number)).values())).sum().backward()
    untrained = {name for name, value in objective.named_parameters() if not value.requires_grad}
    assert untrained == {name for name, _ in objective.named_parameters() if name.startswith(unused)}
    assert all(value.grad is not None for value in objective.parameters() if value.requires_grad)


@pytest.mark.parametrize("named", [True, False])
def test_a_modality_that_a_batch_lacks_has_zero_loss_with_gradient(named: bool) -> None:
    objective, batch = small(), drawn(share=1.0)
    losses(objective, batch)
    if named:
        batch.present["text"][:] = False
    else:
        del batch.paired["text"], batch.present["text"]
    found = losses(objective, batch)
    assert (
        found["mm_text"].item() == 0 and found["nn_text"].item() > 0
    )  # the neighbours, which are found by sound, have text
    found["mm_text"].backward()
    weight = objective.mmcl_head["text"].weight
    assert weight.grad is not None and not weight.grad.any()


def test_missing_embeddings_have_no_effect() -> None:
    results = []
    for seed in (5, 6):
        objective, batch = small(), drawn()
        for name, rows in batch.paired.items():
            noise = 100 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
            batch.paired[name] = torch.where(batch.present[name][:, None], rows, noise)
        for _ in range(2):
            found = losses(objective, batch)
        sum(found.values()).backward()
        results.append((found, [value.grad for value in objective.parameters()]))
    for name, value in results[0][0].items():
        assert torch.equal(value, results[1][0][name])
    assert all(torch.equal(one, two) for one, two in zip(results[0][1], results[1][1], strict=True))


def test_windows_without_modalities_learn_from_neighbours_found_by_their_projection() -> None:
    objective, batch = small(nearest=1.0), drawn(share=1.0)
    losses(objective, batch)
    for present in batch.present.values():
        present[:] = False
    objective.eval()
    found = losses(objective, batch)
    assert found["mm_text"].item() == found["mm_sound"].item() == 0
    query = objective.ssl_head(objective.encoder(batch.x))
    torch.testing.assert_close(objective.queued("ssl"), nn.functional.normalize(query))  # each window finds itself
    query = objective.mmcl_head["text"](objective.encoder(batch.x))
    expected = symmetric_info_nce(query, batch.paired["text"], 0.1)
    torch.testing.assert_close(found["nn_text"], 0.5 * expected)


def test_any_number_of_channels_and_modalities_works() -> None:
    torch.manual_seed(0)
    sizes = {"text": 4, "video": 5, "skeleton": 6, "audio": 3}
    objective = Primus(encoders.Primus(8, width=16), paired=sizes, heads="own", width=8, queue=16)
    assert objective.lookup["order"] == ["video", "text", "skeleton", "audio"]
    batch = drawn(sizes=sizes)._replace(x=torch.randn(6, 8, 130))
    for _ in range(2):
        found = losses(objective, batch)
    assert len(found) == 2 + 2 * 4 and all(value.isfinite() for value in found.values())


def test_temperatures_are_learned_separately_and_stay_positive() -> None:
    objective = small()
    losses(objective, drawn(share=1.0))["mm_text"].backward()
    assert objective.ssl_temperature.grad is None or not objective.ssl_temperature.grad.any()
    assert objective.mmcl_temperature.grad.any()
    with torch.no_grad():
        objective.mmcl_temperature.fill_(-0.5)
    assert all(value.isfinite() for value in losses(objective, drawn(share=1.0)).values())
    assert not any(
        value.requires_grad for name, value in small(learn_temperature=False).named_parameters() if "temp" in name
    )


def test_half_precision_computes_similarities_in_full() -> None:
    objective, batch = small(), drawn(share=1.0)
    exact = [losses(objective, batch), losses(objective, batch)][1]
    again = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = [losses(again, batch), losses(again, batch)][1]
    for name, value in rough.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact[name], rtol=0.1, atol=0.1)


# the queue


def test_an_empty_queue_gives_no_neighbours() -> None:
    objective, batch = small(), drawn(share=1.0)
    first = losses(objective, batch)
    assert [first[f"nn_{name}"].item() for name in ("ssl", "text", "sound")] == [0, 0, 0]
    assert len(objective.queued("text")) == 6


@pytest.mark.parametrize("neighbours", [1, 3, 10])
def test_empty_places_of_the_queue_are_never_neighbours(neighbours: int) -> None:
    objective = small(neighbours=neighbours)
    losses(objective, drawn(2, share=1.0))
    query = -torch.ones(4, 7)  # less similar to both rows in the queue than zeros are
    batch = drawn(4)
    place, similarity = objective.look_up(torch.randn(4, 8), {**batch.paired, "text": query}, batch.present)
    assert ((similarity == -2) | (place < 2)).all()
    assert ((similarity > -2).sum(dim=1) == min(neighbours, 2)).all()


def test_a_window_does_not_find_itself_in_its_own_step() -> None:
    objective, batch = small(queue=64), drawn(share=1.0)
    losses(objective, batch)
    other = drawn(share=1.0, seed=2)
    before = {name: objective.queued(name).clone() for name in ("text", "sound")}
    place, similarity = objective.look_up(torch.randn(6, 8), other.paired, other.present)
    expected = nn.functional.normalize(other.paired["text"]) @ before["text"].T
    assert torch.equal(place[:, 0], expected.argmax(dim=1)) and (similarity < 0.999).all()
    found = losses(objective, other)
    key = before["text"][place[:, 0]]
    query = objective.mmcl_head["text"](objective.encoder(other.x))
    torch.testing.assert_close(found["nn_text"], 0.5 * symmetric_info_nce(query, key, 0.1))


def test_only_complete_windows_are_enqueued_at_the_same_place_in_every_queue() -> None:
    objective, batch = small(), drawn()
    complete = batch.present["text"] & batch.present["sound"]
    assert 0 < complete.sum() < len(complete)
    losses(objective, batch)
    motion = objective.ssl_head(objective.encoder(batch.x))
    for name, rows in {"ssl": motion, **batch.paired}.items():
        torch.testing.assert_close(objective.queued(name), nn.functional.normalize(rows[complete]))
        assert not objective.queued(name).requires_grad


def test_the_oldest_windows_leave_the_queue_first() -> None:
    objective, vectors = small(queue=10), list[Tensor]()
    for number, count in enumerate((4, 4, 4, 25, 3)):
        batch = drawn(count, share=1.0, seed=number)
        losses(objective, batch)
        vectors += nn.functional.normalize(batch.paired["text"]).unbind()
        mine, expected = objective.queued("text"), torch.stack(vectors[-10:])
        assert {tuple(row) for row in mine.tolist()} == {tuple(row) for row in expected.tolist()}
        assert len(mine) == min(len(vectors), 10)


def test_validation_reads_the_queue_and_does_not_change_it() -> None:
    objective = small()
    losses(objective, drawn(share=1.0))
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    objective.eval()
    found = [losses(objective, drawn(share=1.0, seed=2)) for _ in range(2)]
    assert found[0]["nn_text"].item() > 0 and all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())


def test_the_queue_is_saved_with_the_rest() -> None:
    objective, again = small(), small(seed=1)
    for number in range(3):
        losses(objective, drawn(share=1.0, seed=number))
    again.load_state_dict(objective.state_dict())
    batch = drawn(seed=7)
    one, two = losses(objective, batch), losses(again, batch)
    assert one["nn_text"].item() > 0 and all(torch.equal(one[name], two[name]) for name in one)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in objective.state_dict().items())
    assert small(nearest=0.0).state_dict().keys() == {key for key in objective.state_dict() if "queue" not in key}


# in the loop


def with_pairs(windows: Windows) -> tuple[Windows, Windows]:
    """Windows of three subjects and of one; three quarters have text and half have sound."""
    sides = []
    for subjects in (["1", "2", "3"], ["4"]):
        own = windows.for_subjects(subjects)[::4]
        generator = torch.Generator().manual_seed(len(own))
        paired = {name: torch.randn(len(own), dim, generator=generator) for name, dim in SIZES.items()}
        present = {
            name: torch.rand(len(own), generator=generator) < share for name, share in (("text", 0.75), ("sound", 0.5))
        }
        sides.append(dataclasses.replace(own, paired=paired, present=present))
    return sides[0], sides[1]


@pytest.fixture(scope="module")
def pairs(windows: Windows) -> tuple[Windows, Windows]:
    return with_pairs(windows)


def in_loop(seed: int = 0) -> Primus:
    torch.manual_seed(seed)
    return Primus(Strided(6, dropout=0.1), paired=SIZES, heads="own", width=8, queue=12, neighbours=2)


LOOP: dict = {"epochs": 3, "batch_size": 12, "seed": 1}
CPU = Runtime(accelerator="cpu")


def often(resume: Path | None = None) -> Runtime:
    """Reports every step, and saves each time."""
    return Runtime(accelerator="cpu", report_every=1, save_every_s=0.0, resume=resume)


@pytest.mark.parametrize("records", [2, 4, 5, 7])
def test_a_resumed_run_ends_with_the_same_bits_of_weights_and_queue(
    records: int, pairs: tuple[Windows, Windows], tmp_path: Path
) -> None:
    whole = in_loop()
    expected = [step.losses for step in pretrain(whole, *pairs, runtime=often(), **LOOP)]
    state = tmp_path / "state.safetensors"
    steps = pretrain(in_loop(), *pairs, runtime=often(state), **LOOP)
    for _ in range(records):
        next(steps)
    steps.close()
    again = in_loop(seed=9)
    rest = [step.losses for step in pretrain(again, *pairs, runtime=often(state), **LOOP)]
    assert rest == expected[-len(rest) :] and rest[0]["nn_text"] > 0
    assert again.state_dict().keys() == whole.state_dict().keys()
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in again.state_dict().items())
    assert len(whole.queued("sound")) == 12


def test_a_run_that_was_killed_between_enqueueing_and_the_optimiser_step_ends_with_the_same_bits(
    store: Store, pairs: tuple[Windows, Windows], tmp_path: Path
) -> None:
    state = tmp_path / "state.safetensors"
    done = subprocess.run(
        [sys.executable, __file__, str(store.folder), str(state)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole, again = in_loop(), in_loop(seed=9)
    expected = list(pretrain(whole, *pairs, runtime=often(), **LOOP))
    rest = list(pretrain(again, *pairs, runtime=often(state), **LOOP))
    assert rest[0].index == KILLED_IN and [step.losses for step in rest] == [
        s.losses for s in expected[KILLED_IN - 1 :]
    ]
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in again.state_dict().items())


KILLED_IN = 8  # of 9 steps, the second of the last epoch: the queue has been replaced several times


def _to_be_killed(folder: str, state: str) -> None:
    """Runs in a process that the test above starts: dies by SIGKILL after the forward pass, before the optimiser's step."""
    torch.set_num_threads(1)
    objective, calls = in_loop(), list[int]()

    def kill(module: nn.Module, *_: object) -> None:
        if module.training:
            calls.append(1)
        if len(calls) == KILLED_IN:
            os.kill(os.getpid(), signal.SIGKILL)

    objective.register_forward_hook(kill)
    list(pretrain(objective, *with_pairs(cut(open_store(Path(folder)))), runtime=often(Path(state)), **LOOP))


def test_alpha_1_needs_no_pairs(windows: Windows) -> None:
    objective = Primus(Strided(6), paired={}, alpha=1.0, width=8, queue=32)
    (*_, last) = pretrain(objective, windows[::8], epochs=2, batch_size=8, runtime=CPU)
    assert last.losses.keys() == {"ssl", "nn_ssl"} and last.losses["nn_ssl"] > 0


def test_training_lowers_the_multimodal_loss(pairs: tuple[Windows, Windows]) -> None:
    objective = in_loop()
    steps = list(pretrain(objective, pairs[0], epochs=12, batch_size=24, lr=3e-3, runtime=CPU))
    assert steps[-1].losses["mm_text"] < 0.8 * steps[0].losses["mm_text"]


# errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 1.5}, "alpha is 1.5; expected 0 .. 1"),
        ({"nearest": -1.0}, "nearest is -1.0; expected a weight"),
        ({"width": 0}, "width is 0"),
        ({"temperature": 0.0}, "temperature is 0.0; expected at least 0.01"),
        ({"neighbours": 0}, "neighbours is 0; expected 1 .. 10"),
        ({"neighbours": 11}, "neighbours is 11; expected 1 .. 10, the size of the queue"),
        ({"lookup": {"min_similarity": 1.5}}, "min_similarity is 1.5; expected a cosine in -1 .. 1"),
        ({"lookup": {"max_similarity": -1.5}}, "max_similarity is -1.5; expected a cosine"),
        ({"paired": {}}, r"alpha is 0.5, but no modality is paired; run otolith pair"),
        ({"paired": {"ssl": 4}}, "paired has 'ssl' with dimension 4; expected a name"),
        ({"paired": {"a.b": 4}}, r"paired has 'a\.b' with dimension 4"),
        ({"paired": {"text": 0}}, "paired has 'text' with dimension 0"),
        ({"heads": "shared"}, r"a shared head with 8 outputs does not fit .*\(text 7, sound 9\); set heads to own"),
        ({"lookup": {"order": ["text", "video"]}}, "expected names of text, sound, each at most once"),
        ({"lookup": {"order": ["text", "text"]}}, "each at most once"),
        ({"lookup": {"limit": 0.9}}, "lookup has no 'limit'; expected some of order, min_similarity, max_similarity"),
        ({"augmentations": [{"name": "tilt"}]}, "unknown augmentation 'tilt'"),
    ],
)
def test_invalid_arguments_of_the_objective_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_embeddings_of_another_dimension_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"embeddings of 'text' have the shape \(6, 4\) in a batch of 6; expected \(6, 7\)"
    ):
        small()(drawn(sizes={"text": 4, "sound": 9}))


if __name__ == "__main__":
    _to_be_killed(*sys.argv[1:])
