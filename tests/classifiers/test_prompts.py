"""Words as labels: class vectors, zero-shot, and the head that words start."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from otolith import paired
from otolith.apps.label import ENDINGS, label_recordings
from otolith.checkpoints import checkpoint
from otolith.classifiers import prompts
from otolith.classifiers.features import embed
from otolith.classifiers.heads import LogisticHead, TextHead
from otolith.classifiers.heads.logistic import PLAIN
from otolith.classifiers.heads.text import TextClassifier
from otolith.classifiers.prompts import class_vectors, projection, read_prompts, sentences
from otolith.classifiers.settings import FineTuning, Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.store import Store
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.evaluation import protocol
from otolith.evaluation.plan import fold_seeds, planned_rows
from otolith.formats import ReadOptions

DIM = 24
LABELS = ("slow", "medium", "fast")


def encode(texts: list[str]) -> Tensor:
    """Any vector for any words, always the same."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=DIM) for text in texts]
    return torch.tensor(np.array(rows), dtype=torch.float32)


WORDS = paired.TextEncoder("words", "5" * 64, DIM, encode)


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The text encoder of every test, and the names it was asked for by."""
    asked: list[str] = []
    monkeypatch.setattr(paired, "text_encoder", lambda name="minilm", **_: asked.append(name) or WORDS)
    for cached in (prompts._encoder, prompts._vectors):
        cached.cache_clear()
    yield asked
    for cached in (prompts._encoder, prompts._vectors):
        cached.cache_clear()
    protocol._features.clear()


@pytest.fixture(scope="module")
def train(windows: Windows) -> Windows:
    return windows.for_subjects(["1", "2", "3"])[::2]


@pytest.fixture(scope="module")
def trained(windows: Windows) -> tuple[Strided, nn.Linear]:
    """An encoder, and a head that leads to the words of slow, medium and fast: what pretraining with words aims at. It has
    seen everybody, as these tests are of what is made of it."""
    train = windows[::2]
    torch.manual_seed(0)
    encoder = Strided(6, **train.statistics())
    assert train.y is not None
    target = torch.nn.functional.normalize(encode(list(LABELS)), dim=1)[torch.from_numpy(train.y)]
    model = TransferClassifier(encoder, LogisticHead(**PLAIN), mode="scratch", training=Training(steps=150)).fit(train)
    features = embed(model.encoder_, train)
    head = nn.Linear(encoder.dim, DIM)
    x = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    ridge = torch.linalg.solve(x.T @ x + 3.0 * torch.eye(x.shape[1], dtype=torch.float64), x.T @ target.double())
    with torch.no_grad():
        head.weight.copy_(ridge[:-1].T)
        head.bias.copy_(ridge[-1])
    return model.encoder_, head


@pytest.fixture(scope="module")
def save(
    trained: tuple[Strided, nn.Linear], windows: Windows, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Writes a checkpoint with that head, or others."""

    def write(heads: dict[str, nn.Module] | None = None, **facts: Any) -> Path:
        path = tmp_path_factory.mktemp("pretrained") / "encoder.safetensors"
        about = {
            "objective": "primus",
            "objective_arguments": {"temperature": 0.2},
            "subjects": [f"synthetic:{n}" for n in (1, 2, 3)],
            "paired": {"text": {"encoder": "words", "sha256": WORDS.sha256, "dim": DIM}},
        }
        own = {prompts.HEAD: trained[1]} if heads is None else heads
        checkpoint.save(path, trained[0], windows.contract, about=about | facts, heads=own)
        return path

    return write


# words


def test_a_class_is_the_mean_over_its_prompts(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('slow = "a person moves slowly"\nfast = ["fast", "a person hurries"]\n"very fast" = ["run"]\n')
    prompts = read_prompts(path)
    assert prompts == {"slow": ["a person moves slowly"], "fast": ["fast", "a person hurries"], "very fast": ["run"]}
    vectors = class_vectors(["fast", "slow"], WORDS, prompts)
    unit = torch.nn.functional.normalize(encode(["fast", "a person hurries", "a person moves slowly"]), dim=1)
    torch.testing.assert_close(vectors, torch.stack([unit[:2].mean(dim=0), unit[2]]))
    assert vectors[0].norm() < 0.99  # as published: the mean itself is not normalised
    assert sentences(["sit_down", "walk"], None) == (("sit down",), ("walk",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slow = 3", "'slow' is 3; expected a sentence or a list of them"),
        ("slow = []", r"'slow' is \[\]"),
        ("slow = ['', 'x']", "expected a sentence"),
        ("slow = {a = 1}", "expected a sentence"),
        ("slow", "are not TOML"),
    ],
)
def test_prompts_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_prompts(tmp_path / "p.toml")
    with pytest.raises(
        FileNotFoundError, match=r"no prompts at '.*gone.toml'; write a TOML file with one line per label"
    ):
        read_prompts(tmp_path / "gone.toml")


def test_a_label_without_prompts_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="there is no prompt for 'walkin'; did you mean 'walking'"):
        sentences(["walkin"], {"walking": ["a"]})
    with pytest.raises(ValueError, match="there is no prompt for 'x'; there are prompts for: walking, running"):
        sentences(["x"], {"walking": ["a"], "running": ["b"]})


def test_a_head_is_found_in_both_layouts() -> None:
    shared, own = nn.Linear(4, 3), nn.ModuleDict({"text": nn.Linear(4, 3), "video": nn.Linear(4, 5)})
    for head, modality, expected in (
        (shared, "video", shared),
        (own, "text", own["text"]),
        (own, "video", own["video"]),
    ):
        state = projection({prompts.HEAD: head.state_dict()}, modality)
        assert state is not None and torch.equal(state["weight"], expected.weight)
        assert torch.equal(state["bias"], expected.bias)
    assert projection({prompts.HEAD: own.state_dict()}, "skeleton") is None and projection({}, "text") is None


# zero-shot


def test_words_alone_label_people_never_seen(save: Callable[..., Path], windows: Windows) -> None:
    test = windows.for_subjects(["5", "6"])
    model = TransferClassifier.from_words(save(), ["fast", "slow", "medium"])
    assert list(model.classes_) == ["fast", "slow", "medium"] and model.steps_ == 0
    truth = np.array(LABELS)[test.y]
    assert (model.predict(test) == truth).mean() > 0.8
    # Which class is the nearest does not depend on the temperature; how sure it is does.
    features = model.transform(test)
    logits = model.head_(features)
    assert isinstance(model.head_, TextClassifier)
    unit = torch.nn.functional.normalize(model.head_.projection(features), dim=1)
    known = torch.nn.functional.normalize(encode(["fast", "slow", "medium"]), dim=1)
    torch.testing.assert_close(logits, unit @ known.T / 0.2)


def test_zero_shot_probabilities_are_as_sharp_as_pretraining_learned(
    save: Callable[..., Path], windows: Windows
) -> None:
    initial = TransferClassifier.from_words(save(), LABELS)
    learned = TransferClassifier.from_words(save(temperatures={"ssl": 0.5, "mmcl": 0.05}), LABELS)
    torch.testing.assert_close(learned.head_(learned.transform(windows)), 4 * initial.head_(initial.transform(windows)))


def test_zero_shot_uses_no_labels_but_their_names(save: Callable[..., Path], train: Windows, windows: Windows) -> None:
    test = windows.for_subjects(["5", "6"])
    one = TransferClassifier(save(), TextHead(), mode="zero-shot").fit(train)
    two = TransferClassifier.from_words(save(), LABELS)
    assert torch.equal(one.head_.classes.weight, two.head_.classes.weight)
    np.testing.assert_array_equal(np.array(LABELS)[one.predict(test)], two.predict(test))
    shuffled = TransferClassifier(save(), TextHead(), mode="zero-shot").fit(train, train.y[::-1].copy())
    np.testing.assert_array_equal(shuffled.predict(test), one.predict(test))


def test_it_is_saved_and_loaded_like_any_classifier(
    save: Callable[..., Path], windows: Windows, tmp_path: Path
) -> None:
    model = TransferClassifier.from_words(save(), LABELS)
    model.save(tmp_path / "m.safetensors")
    loaded = TransferClassifier.load(tmp_path / "m.safetensors")
    test = windows.for_subjects(["5"])
    np.testing.assert_array_equal(loaded.predict_proba(test), model.predict_proba(test))
    assert list(loaded.classes_) == list(LABELS)


def test_what_words_cannot_do(save: Callable[..., Path], trained: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"has no head for text, so zero-shot .*: pretrain with paired text"):
        TransferClassifier.from_words(save(heads={}), LABELS)
    with pytest.raises(ValueError, match="expected at least two, each once"):
        TransferClassifier.from_words(save(), ["slow"])
    with pytest.raises(ValueError, match="expected at least two, each once"):
        TransferClassifier.from_words(save(), ["slow", "slow"])
    other = {"text": {"encoder": "old", "sha256": "6" * 64, "dim": DIM}}
    with pytest.raises(
        ValueError, match=r"'mine' has the weights 555555555555; .* with 'old' of the weights 666666666666"
    ):
        TransferClassifier.from_words(save(paired=other), LABELS, text="mine")
    wide = {prompts.HEAD: nn.Linear(trained[0].dim, 512)}
    with pytest.raises(
        ValueError, match="has 512 dimensions and the text encoder 'words' has 24; pass the text encoder"
    ):
        TransferClassifier.from_words(save(heads=wide), LABELS)
    TransferClassifier.from_words(save(paired={"text": {"encoder": "unsure"}}), LABELS)  # published: no hash is known
    assert words[-1] == "unsure"


# the head that words start


def test_training_sets_out_from_words_and_frozen_means_all_but_the_classes(
    save: Callable[..., Path], train: Windows, windows: Windows
) -> None:
    path, few, held = save(), train[::4], windows.for_subjects(["4"])
    training = Training(steps=5, batch_size=16, optimizer="adamw", monitor="accuracy")

    def classifier(mode: Any) -> TransferClassifier:
        return TransferClassifier(path, TextHead(), mode=mode, training=training)

    start = torch.nn.functional.normalize(encode(list(LABELS)), dim=1)
    idle = classifier("frozen").set_params(training=Training(steps=0)).fit(few)
    torch.testing.assert_close(idle.head_.classes.weight.detach(), start)
    assert not idle.head_.classes.bias.any()
    loaded = checkpoint.load(path)
    for mode in ("frozen", "finetune"):
        model = classifier(mode).fit(few, validation=held)
        moved = not torch.equal(model.head_.projection.weight, loaded.heads[prompts.HEAD]["weight"])
        assert moved == (mode == "finetune") and not torch.equal(model.head_.classes.weight, start)
        assert all(weight.requires_grad for weight in model.head_.parameters())
        assert model.score(held, held.y) > 0.8
    features = embed(loaded.encoder, few)
    again = classifier("frozen").fit(few, features=features)
    plain = classifier("frozen").fit(few)
    assert torch.equal(again.head_.classes.weight, plain.head_.classes.weight)


def test_the_projection_trains_at_the_encoders_rate(
    save: Callable[..., Path], train: Windows, rates: list[list[float]]
) -> None:
    training = Training(steps=1, batch_size=16, lr=0.1, finetuning=FineTuning(encoder_lr=1e-4))
    for mode in ("finetune", "frozen"):
        TransferClassifier(save(), TextHead(), mode=mode, training=training).fit(train[::4])
    assert set(rates[0][:-1]) == {1e-4} and rates[0][-1] == 0.1 and rates[1] == [0.1]


def test_without_pretraining_the_network_is_the_same_with_new_weights(
    save: Callable[..., Path], train: Windows, words: list[str]
) -> None:
    training = Training(steps=2, batch_size=16)
    known = checkpoint.load(save()).heads[prompts.HEAD]["weight"]
    for mode in ("scratch", "random-frozen"):
        model = TransferClassifier(save(), TextHead(), mode=mode, training=training).fit(train[::4])
        assert model.head_.projection.weight.shape == known.shape
        assert not torch.equal(model.head_.projection.weight, known)
    wordless = TransferClassifier(save(heads={}, paired={}), TextHead(), training=training).fit(train[::4])
    assert wordless.head_.projection.out_features == DIM and words == ["words", "minilm"]
    named = TransferClassifier(save(heads={}, paired={}), TextHead(text="mine"), training=training).fit(train[::4])
    assert torch.equal(named.head_.projection.weight, wordless.head_.projection.weight) and words[-1] == "mine"


def test_prompts_come_from_a_file_or_a_table(save: Callable[..., Path], train: Windows, tmp_path: Path) -> None:
    prompts = {name: [f"a person moves {name}"] for name in LABELS}
    path = tmp_path / "p.toml"
    path.write_text("\n".join(f"{name} = {json.dumps(lines)}" for name, lines in prompts.items()))
    weights = [
        TransferClassifier(save(), TextHead(given), mode="zero-shot").fit(train).head_.classes.weight
        for given in (prompts, path, str(path), None)
    ]
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    assert TextHead(path).arguments() == {"prompts": prompts, "text": None} == TextHead(prompts).arguments()


@pytest.mark.parametrize("mode", ["frozen", "finetune", "scratch", "zero-shot"])
def test_a_saved_text_head_comes_back_with_all_arguments(
    mode: Any, save: Callable[..., Path], train: Windows, tmp_path: Path
) -> None:
    head = TextHead({name: [f"a person moves {name}", name] for name in LABELS}, "words")
    model = TransferClassifier(save(), head, mode=mode, training=Training(steps=2, batch_size=16)).fit(train[::4])
    model.save(tmp_path / "m.safetensors", label_names=train.label_names)
    loaded = TransferClassifier.load(tmp_path / "m.safetensors")
    assert loaded.arguments() == model.arguments() and loaded.arguments()["head"]["text"] == "words"
    np.testing.assert_array_equal(loaded.predict_proba(train), model.predict_proba(train))


# rows


def test_rows_of_words(save: Callable[..., Path], windows: Windows, tmp_path: Path) -> None:
    some = windows[::4]
    plan = fold_seeds(some, seeds=(0, 1), fold_seed=0, test=["5", "6"])
    assert [unit.split.test for unit in plan] == [("5", "6")] * 2 and {*plan[0].split.train} < {"1", "2", "3", "4"}
    path = save(subjects=[])
    settings: dict[str, Any] = {
        "shots": (2, 5),
        "modes": ("frozen", "zero-shot", "scratch", "forest"),
        "transfer": {"head": {"name": "text"}, "training": {"steps": 2, "batch_size": 16}},
        "prompts": {name: [name, f"{name} movement"] for name in LABELS},
    }
    planned = planned_rows(some, plan, lambda _: path, **settings)
    assert len(planned) == len({row.fingerprint for row in planned}) == 2 * (3 * 2 + 1)
    rows = list(protocol.evaluate(some, planned, folder=tmp_path))
    zero = [row for row in rows if row.mode == "zero-shot"]
    assert [row.shots for row in zero] == [0, 0]
    for row in zero:
        assert (row.n_train, row.n_validation, row.steps, row.fewer) == (0, 0, 0, "{}")
        assert row.objective == "primus" and row.checkpoint != "-" and row.accuracy > 0.6
        how = json.loads(row.transfer)
        assert how["mode"] == "zero-shot" and "training" not in how
        assert how["head"]["name"] == "text" and how["head"]["text"] == "words"
        assert len(how["head"]["prompts"]) == 16, "prompts are named by a hash"
    other = {name: [f"{name} motion"] for name in LABELS}
    changed = planned_rows(some, plan, lambda _: path, **{**settings, "prompts": other})
    names = [{c.fingerprint for c in p if c.mode == "forest"} for p in (planned, changed)]
    assert names[0] == names[1]
    assert not {c.fingerprint for c in planned if c.mode != "forest"} & {c.fingerprint for c in changed}
    with pytest.raises(
        ValueError, match="has no head for text, so it cannot classify zero-shot; leave the mode zero-shot out"
    ):
        planned_rows(some, plan, lambda _: save(heads={}, subjects=[]), **settings)
    with pytest.raises(ValueError, match="there is no prompt for 'fast'"):
        planned_rows(some, plan, lambda _: path, **{**settings, "prompts": {"slow": ["a"], "medium": ["b"]}})


# a user's own recording


def test_a_recording_of_ones_own_is_labelled_in_words(save: Callable[..., Path], store: Store, tmp_path: Path) -> None:
    entries = [entry for entry in store.entries if entry.subject == "6"]
    signal = np.concatenate([store.signal(entry) for entry in entries])
    header = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
    path = tmp_path / "mine.csv"
    rows = np.column_stack([np.arange(len(signal)) / 50, signal])
    np.savetxt(path, rows, delimiter=",", header=header, comments="")
    known = ReadOptions(acc_unit="g", gyro_unit="rad/s")
    model = TransferClassifier.from_words(save(), ["fast", "medium", "slow"])
    (labelled,) = label_recordings(model, [path], tmp_path, options=known)
    assert set(labelled.timeline["label"]) <= set(LABELS) and labelled.labels == ("fast", "medium", "slow")
    at = 0.0
    for entry in entries:
        end, truth = at + entry.steps / 50, store.labels[entry.spans[0][2]]
        mine = labelled.timeline[labelled.timeline["label"] == truth]
        overlap = (np.minimum(mine["end_s"], end) - np.maximum(mine["start_s"], at)).clip(lower=0).sum()
        assert overlap > 0.6 * (end - at)
        at = end
    assert {p.name for p in tmp_path.iterdir()} == {"mine.csv", *(f"mine.{ending}" for ending in ENDINGS.values())}
    np.savetxt(path, rows[:, :4], delimiter=",", header=header[:22], comments="")
    with pytest.raises(ValueError, match=r"has no gyro_x.*every encoder, cpc, .*can be pretrained on 3 channels"):
        list(label_recordings(model, [path], tmp_path, options=known))
