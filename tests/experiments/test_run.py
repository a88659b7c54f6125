"""Stages: which people an encoder sees, where it lies, and what several runs share."""

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from otolith import paired
from otolith.checkpoints import checkpoint
from otolith.classifiers import prompts
from otolith.data.multimodal import MultimodalData, Narration, SensorStream
from otolith.data.prepare import prepare
from otolith.data.recording import Recording
from otolith.data.store import open_store
from otolith.datasets import synthetic
from otolith.encoders import ENCODERS, Strided
from otolith.experiments import recipe, study
from otolith.experiments.build import made_from
from otolith.experiments.report import report
from otolith.experiments.run import Run
from otolith.objectives import OBJECTIVES, SimCLR
from otolith.pretraining import pretrain

TEXT = """
dataset = "{dataset}"
pretrain_on = {corpora}
[windows]
channels = ["acc_x", "acc_y", "acc_z"]
[unlabelled]
overlap = 0.0
[encoder]
name = "strided"
[objective]
name = "simclr"
[pretrain]
epochs = 1
batch_size = 32
[protocol]
folds = 3
fold_seed = 0
seeds = [0, 1]
shots = [2]
modes = ["frozen", "scratch", "forest"]
[transfer]
head = {{ name = "logistic", C = 1.0, whiten = "none", use_statistics = false, n_augmented_copies = 0 }}
training = {{ steps = 2 }}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target and two further corpora, of 6, 6 and 1 people; two of them name their people alike."""
    folder = tmp_path_factory.mktemp("data")
    for name, people, seed in (("synthetic", 6, 0), ("motionsense", 6, 1), ("spar", 1, 2)):
        prepare(synthetic.made(subjects=people, seed=seed), folder / name, dataset=name, labels=("slow",))
    return folder


def run(data: Path, folder: Path, corpora: str, shared: Path | None = None, dataset: str = "synthetic") -> Run:
    path = folder / "r.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT.format(corpora=corpora, dataset=dataset))
    return Run(recipe.load(path), folder, data, shared)


def test_other_corpora_alone_give_one_encoder_a_seed(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["motionsense", "spar"]')
    plan = job.plan(job.windows())
    paths = {job.encoder_path(unit) for unit in plan}
    assert len(plan) == 6 and len(paths) == 2
    for seed in (0, 1):
        made = job.pretraining(next(unit for unit in plan if unit.seed == seed))
        assert made.validation is not None
        train, held = set(made.train.people), set(made.validation.people)
        assert train | held == {"spar:1", *(f"motionsense:{n}" for n in range(1, 7))} and not train & held
        assert "spar:1" in train and len(held) == 2  # a fifth of six people, rounded up; one person only trains


def test_each_seed_has_its_own_encoder_of_the_same_people_where_the_recipe_says_so(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["synthetic"]')
    assert len({job.encoder_path(unit) for unit in job.plan(job.windows())}) == 3
    job = Run(recipe.load(tmp_path / "r.toml", ["protocol.encoder_per_seed=true"]), job.folder, data)
    made = {(unit.split.fold, unit.seed): job.pretraining(unit) for unit in job.plan(job.windows())}
    assert len({each.path for each in made.values()}) == 6
    for fold in range(3):
        assert made[fold, 0].subjects == made[fold, 1].subjects
        assert (made[fold, 0].seed, made[fold, 1].seed) == (0, 1)


def test_the_target_among_them_keeps_its_test_people_out(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["motionsense", "synthetic"]')
    for unit in job.plan(job.windows()):
        made = job.pretraining(unit)
        assert made.validation is not None
        assert {f"synthetic:{name}" for name in unit.split.train} < set(made.train.people)
        assert {f"synthetic:{name}" for name in unit.split.validation} < set(made.validation.people)
        assert not {f"synthetic:{name}" for name in unit.split.test} & {*made.train.people, *made.validation.people}
    assert len(job.pretraining(None).train.people) == 12 and job.pretraining(None).validation is None


def test_the_name_of_an_encoder_follows_from_all_that_made_it(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["synthetic"]')
    unit = job.plan(job.windows())[0]
    names = {job.encoder_path(unit).name, run(data, tmp_path, '["motionsense"]').encoder_path(unit).name}
    for change in (
        {"pretrain": {"epochs": 2}},
        {"objective": {"name": "simclr", "temperature": 0.5}},
        {"encoder": {"name": "strided", "dropout": 0.1}},
        {"unlabelled": {**job.recipe.unlabelled, "overlap": 0.5}},
    ):
        other = Run(dataclasses.replace(job.recipe, **change), tmp_path, data)
        names.add(other.encoder_path(unit).name)
    assert len(names) == 6
    again = run(data, tmp_path / "elsewhere", '["synthetic"]').encoder_path(unit)
    assert again.name == job.encoder_path(unit).name and again.parent != job.encoder_path(unit).parent


def with_changes(job: Run, **sections: dict) -> str:
    """The name of the first encoder under a recipe whose sections have further settings."""
    changed = {name: {**getattr(job.recipe, name), **table} for name, table in sections.items()}
    other = Run(dataclasses.replace(job.recipe, **changed), job.folder, job.data)
    return other.encoder_path(other.plan(other.windows())[0]).name


def test_a_default_that_is_written_out_makes_no_other_encoder(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["synthetic"]')
    name = with_changes(job)
    assert (
        with_changes(job, pretrain={"lr": 1e-3, "sampling": {"share": 1.0}, "runtime": {"precision": "32-true"}})
        == name
    )
    assert with_changes(job, encoder={"dropout": 0.0}, objective={"temperature": 0.1}) == name
    assert with_changes(job, pretrain={"runtime": {"report_every": 3, "accelerator": "cpu"}}) == name
    assert with_changes(job, pretrain={"sampling": {"share": 0.5}}) != name
    assert with_changes(job, pretrain={"runtime": {"precision": "bf16-mixed"}}) != name


def test_another_default_of_the_loop_makes_another_encoder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = run(data, tmp_path, '["synthetic"]')
    name = with_changes(job)
    monkeypatch.setitem(inspect.unwrap(pretrain).__kwdefaults__, "lr", 2e-3)
    assert with_changes(job) != name and with_changes(job, pretrain={"lr": 1e-3}) == name


@pytest.mark.parametrize("family", ["encoder", "objective"])
def test_another_default_of_what_is_built_makes_another_encoder(
    family: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def registered(default: float) -> None:
        if family == "encoder":

            class Mine(Strided):
                def __init__(self, channels: int, mean=None, std=None, dropout: float = default) -> None:
                    super().__init__(channels, mean, std, dropout)

            monkeypatch.setitem(ENCODERS, "strided", Mine)
        else:

            class Own(SimCLR):
                def __init__(self, encoder, temperature: float = default) -> None:
                    super().__init__(encoder, temperature=temperature)

            monkeypatch.setitem(OBJECTIVES, "simclr", Own)

    job = run(data, tmp_path, '["synthetic"]')
    registered(0.1)
    name, argument = with_changes(job), {"encoder": "dropout", "objective": "temperature"}[family]
    registered(0.2)
    assert with_changes(job) != name
    assert with_changes(job, **{family: {argument: 0.1}}) == name


def test_naming_an_encoder_reads_no_signal(data: Path, tmp_path: Path) -> None:
    job = run(data, tmp_path, '["synthetic"]')
    train = job.unlabelled["synthetic"]
    unreadable = dataclasses.replace(train, values=tuple(torch.full_like(values, torch.nan) for values in train.values))
    assert made_from(job.recipe, unreadable, None, 0) == made_from(job.recipe, train, None, 0)
    assert made_from(job.recipe, train[1:], None, 0) != made_from(job.recipe, train, None, 0)


def test_runs_share_encoders_and_the_rows_that_do_not_depend_on_them(data: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    one = run(data, tmp_path / "one", '["motionsense", "spar"]', shared)
    list(one.pretrain())
    encoders = sorted((shared / "encoders").iterdir())
    assert len(encoders) == 2 and all(path.suffix == ".safetensors" for path in encoders)
    about = checkpoint.load(encoders[0]).about
    assert about["pretrained_on"] == "motionsense+spar" and "spar:1" in about["subjects"]
    assert about["settings"]["pretrain"] == {"epochs": 1, "batch_size": 32}
    assert about["objective_arguments"]["temperature"] == 0.1 and "head" in checkpoint.load(encoders[0]).heads
    total, rows = one.evaluate()
    made = list(rows)
    assert total == len(made) == 18 and not any(row.test_seen_in_pretraining for row in made)
    assert {row.pretrained_on for row in made if row.mode == "frozen"} == {"motionsense+spar"}
    before = {path: path.stat().st_mtime_ns for path in (shared / "rows").iterdir()}
    two = run(data, tmp_path / "two", '["motionsense", "spar"]', shared)
    assert list(two.pretrain()) == []
    assert [row.fingerprint for row in two.evaluate()[1]] == [row.fingerprint for row in made]
    assert before == {path: path.stat().st_mtime_ns for path in (shared / "rows").iterdir()}
    target = run(data, tmp_path / "three", '["synthetic"]', shared)
    list(target.pretrain())
    rows = list(target.evaluate()[1])
    mine = {row.fingerprint for row in rows} & {row.fingerprint for row in made}
    assert mine == {row.fingerprint for row in rows if row.mode == "forest"}


# corpora of one's own


def bare(seed: int, seconds: float = 15.0) -> Iterator[Recording]:
    """Recordings without labels."""
    for recording in synthetic.made(seed=seed, seconds=seconds):
        yield dataclasses.replace(recording, spans=())


@pytest.fixture(scope="module")
def with_own(data: Path) -> Path:
    """Two more stores that are none of Otolith's corpora: one with labels, one without."""
    prepare(
        synthetic.made(seed=3), data / "my-own", dataset="my-own", about={"title": "My recordings", "licence": "none"}
    )
    prepare(bare(4), data / "bare", dataset="bare")
    return data


def test_any_prepared_store_can_be_named_and_goes_with_known_ones(with_own: Path, tmp_path: Path) -> None:
    job = run(with_own, tmp_path, '["motionsense", "my-own", "bare"]', dataset="my-own")
    list(job.pretrain())
    about = checkpoint.load(job.encoder_path(job.plan(job.windows())[0])).about
    assert {person.partition(":")[0] for person in about["subjects"]} == {"motionsense", "my-own", "bare"}
    rows = list(job.evaluate()[1])
    assert {row.dataset for row in rows} == {"my-own"} and {row.pretrained_on for row in rows} == {
        "-",
        "motionsense+my-own+bare",
    }
    page, _ = report(job, latex=True)
    assert "My recordings: 6 subjects, 3 classes" in page.read_text()


def test_a_corpus_that_is_not_prepared_is_named(with_own: Path, tmp_path: Path) -> None:
    for dataset, message in [
        ("my-won", "no prepared corpus 'my-won' in '.*'; did you mean 'my-own'"),
        ("motionsens", "did you mean 'motionsense'"),
        ("xyz", "no prepared corpus 'xyz' in '.*'; prepared are: .*bare.*my-own"),
        ("pamap2", "run: otolith prepare pamap2 --source DIR"),
    ]:
        job = run(with_own, tmp_path, '["synthetic"]', dataset=dataset)
        with pytest.raises(FileNotFoundError, match=message):
            job.windows()
        with pytest.raises(FileNotFoundError, match=message):
            list(job.pretrain())
        with pytest.raises(FileNotFoundError, match=message):
            run(with_own, tmp_path, f'["synthetic", "{dataset}"]').unlabelled  # noqa: B018


def test_stages_that_need_no_labels_take_a_corpus_without_any(with_own: Path, tmp_path: Path) -> None:
    job = run(with_own, tmp_path, '["bare"]', dataset="bare")
    list(job.pretrain())
    assert len(list(job.encoders.glob("*.safetensors"))) == 3, "one for each fold"
    for unit in job.plan(job.subject_windows()):
        seen = set(checkpoint.load(job.encoder_path(unit)).about["subjects"])
        assert seen == {f"bare:{name}" for name in unit.split.train + unit.split.validation}
    list(job.pretrain(everyone=True))
    for stage in (job.windows, job.evaluate, lambda: report(job), lambda: job.transfer(mode="frozen")):
        with pytest.raises(ValueError, match="'bare' has no labels, so nothing can be fitted or scored on it"):
            stage()


# pairs

PAIRED = """
dataset = "{dataset}"
pretrain_on = {corpora}
setting = "{setting}"
[prompts]
slow = ["slow", "a slow movement"]
medium = ["medium"]
fast = ["fast"]
[windows]
seconds = 2.5
[unlabelled]
overlap = 0.0
[paired]
modalities = ["text", "skeleton"]
fraction = {fraction}
[encoder]
name = "primus"
width = 16
[objective]
name = "primus"
width = 8
heads = "own"
queue = 32
[pretrain]
epochs = 1
batch_size = 32
[protocol]
test = ["1", "2"]
fold_seed = 0
seeds = [0, 1]
shots = [2, 3]
modes = ["zero-shot", "frozen", "scratch", "forest"]
[transfer]
head = {{ name = "text" }}
training = {{ steps = 2 }}
[variants.primus]
[variants.simclr]
objective = {{ name = "simclr" }}
protocol = {{ modes = ["frozen"] }}
"""


def encode(texts: list[str]) -> Tensor:
    rows = [np.random.default_rng(list(text.encode())).normal(size=24) for text in texts]
    return torch.tensor(np.array(rows), dtype=torch.float32)


WORDS = paired.TextEncoder("words", "5" * 64, 24, encode)


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(paired, "text_encoder", lambda name="minilm", **_: WORDS)
    for cached in (prompts._encoder, prompts._vectors):
        cached.cache_clear()
    yield
    for cached in (prompts._encoder, prompts._vectors):
        cached.cache_clear()


def embed_pairs(data: Path, corpus: str, words: Sequence[str]) -> None:
    """Embeds a sentence for each recording and a track, which lie with a corpus's recordings."""
    store = open_store(data / corpus)
    random = np.random.default_rng(0)
    multimodal_data = [
        MultimodalData(
            entry.name,
            (Narration(0.0, entry.steps / store.rate_hz, word),),
            sensor_streams={
                "skeleton": SensorStream(np.arange(0, 15, 0.1), random.normal(size=(150, 7)).astype(np.float32))
            },
        )
        for entry, word in zip(store.entries, words, strict=True)
    ]
    list(paired.embed(multimodal_data, store, paired.folder_of(data, corpus), text=WORDS, image=None))


@pytest.fixture(scope="module")
def with_pairs(data: Path) -> Path:
    """Pairs of the synthetic corpus: its labels in words, and a track; none of the other two."""
    store = open_store(data / "synthetic")
    embed_pairs(data, "synthetic", [store.labels[entry.spans[0][2]] for entry in store.entries])
    return data


def test_retrieval_needs_no_labels(with_own: Path, tmp_path: Path) -> None:
    recordings = len(open_store(with_own / "bare").entries)
    embed_pairs(with_own, "bare", [f"movement {number % 4}" for number in range(recordings)])
    job = paired_run(with_own, tmp_path, dataset="bare", corpora='["bare"]')
    list(job.pretrain())
    assert job.can_retrieve
    found = list(job.retrieve())
    assert [(recall.modality, recall.test_subjects) for recall in found] == [("text", "1 2"), ("skeleton", "1 2")]
    assert found[0].n_windows == len(job.subject_windows().for_subjects(["1", "2"])) and found[0].n_keys <= 4
    other = paired_run(with_own, tmp_path / "everyone", dataset="bare", corpora='["bare"]')
    list(other.pretrain(everyone=True))
    with pytest.raises(FileNotFoundError, match="run first: otolith pretrain"):
        list(other.retrieve())
    assert [recall.test_seen_in_pretraining for recall in other.retrieve(allow_seen=True)] == [True, True]


def paired_run(data: Path, folder: Path, variant: str | None = None, shared: Path | None = None, **what: object) -> Run:
    path = folder / "p.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    usual = {"dataset": "synthetic", "corpora": '["synthetic"]', "setting": "mine", "fraction": 1.0}
    path.write_text(PAIRED.format(**usual | what))
    return Run(recipe.load(path, variant=variant), folder, data, shared)


def test_pairs_go_along_with_pretraining_and_test_people_are_searched(
    with_pairs: Path, tmp_path: Path, words: None
) -> None:
    job = paired_run(with_pairs, tmp_path)
    made = job.pretraining(job.plan(job.windows())[0])
    assert {name: vectors.shape[1] for name, vectors in made.train.paired.items()} == {"text": 24, "skeleton": 7}
    assert made.train.present["text"].all() and not job.windows().paired
    with pytest.raises(FileNotFoundError, match=r"no encoder at .* \(1 missing\); run first: otolith pretrain"):
        list(job.retrieve())
    assert study.study_recalls([job]).empty
    list(job.pretrain())
    (path,) = (tmp_path / "encoders").iterdir()
    loaded = checkpoint.load(path)
    assert loaded.about["paired"]["text"]["encoder"] == "words" and loaded.about["paired"]["text"]["dim"] == 24
    assert loaded.about["paired"]["text"]["sha256"] == WORDS.sha256 and "skeleton" in loaded.about["paired"]
    assert loaded.about["settings"]["paired"] == {"modalities": ["text", "skeleton"], "fraction": 1.0}
    learned = loaded.about["temperatures"]
    assert set(learned) == {"ssl", "mmcl"} and learned["mmcl"] != 0.1 and abs(learned["mmcl"] - 0.1) < 0.05
    found = list(job.retrieve())
    assert [(recall.modality, recall.test_subjects) for recall in found] == [("text", "1 2"), ("skeleton", "1 2")]
    assert found[0].n_keys == 3 and found[0].n_windows == len(job.windows().for_subjects(["1", "2"]))
    total, rows = job.evaluate()
    made_rows = list(rows)
    assert total == len(made_rows) == 2 * (1 + 2 * 3)
    assert [row.shots for row in made_rows if row.mode == "zero-shot"] == [0, 0]
    model = job.transfer(mode="frozen", shots=2, fold=0)
    assert checkpoint.load(model).about["classifier"]["head"]["name"] == "text"


def test_fewer_pairs_and_corpora_without_any(with_pairs: Path, tmp_path: Path) -> None:
    whole = paired_run(with_pairs, tmp_path / "a")
    unit = whole.plan(whole.windows())[0]
    half = paired_run(with_pairs, tmp_path / "b", fraction=0.5)
    part = half.pretraining(unit)
    share = float(part.train.present["text"].float().mean())
    assert 0 < share < 1 and not (part.train.present["skeleton"] & ~part.train.present["text"]).any()
    assert part.path.name != whole.pretraining(unit).path.name
    plain = paired_run(with_pairs, tmp_path / "c", "simclr")
    assert not plain.pretraining(unit).train.paired and not plain.can_retrieve
    assert paired_run(with_pairs, tmp_path / "c", "simclr", fraction=0.5).encoder_path(unit) == plain.encoder_path(unit)
    with pytest.raises(ValueError, match="'simclr' is trained on motion alone, so it cannot retrieve other modalities"):
        list(plain.retrieve())
    both = paired_run(with_pairs, tmp_path / "d", corpora='["motionsense", "synthetic"]')
    joined = both.pretraining(unit).train
    mine = np.array([name.startswith("synthetic:") for name in joined.subject_names])[joined.subject]
    np.testing.assert_array_equal(joined.present["text"].numpy(), mine)
    away = paired_run(with_pairs, tmp_path / "e", dataset="motionsense", corpora='["synthetic"]')
    assert not away.can_retrieve
    with pytest.raises(
        FileNotFoundError, match=r"holds no embeddings of text, skeleton; run first: otolith pair motionsense"
    ):
        list(away.retrieve())
    none = paired_run(with_pairs, tmp_path / "f", dataset="motionsense", corpora='["motionsense"]')
    with pytest.raises(
        FileNotFoundError, match=r"no paired embeddings at '.*text.safetensors'; run first: otolith pair moti"
    ):
        none.pretraining(unit)


def test_a_study_goes_by_the_recipes_setting(with_pairs: Path, tmp_path: Path, words: None) -> None:
    runs = []
    for setting, fraction in (("mine", 1.0), ("another", 0.5)):
        folder = tmp_path / setting
        paired_run(with_pairs, folder, setting=setting, fraction=fraction)
        runs += study.study([folder / "p.toml"], tmp_path / "study", with_pairs)
    assert [run.folder.name for run in runs] == ["mine-primus", "mine-simclr", "another-primus", "another-simclr"]
    for run in runs[:3]:
        list(run.pretrain())
        list(run.evaluate()[1])
        if run.can_retrieve:
            list(run.retrieve())
    rows, counts = study.study_rows(runs)
    assert counts == {
        ("mine", "primus"): 14,
        ("mine", "simclr"): 4,
        ("another", "primus"): 14,
        ("another", "simclr"): 4,
    }
    assert rows.groupby(["dataset", "variant"]).size().to_dict() == counts, "simclr is the same in both settings"
    recalls = study.study_recalls(runs)
    assert set(zip(recalls["setting"], recalls["variant"], strict=True)) == {("mine", "primus"), ("another", "primus")}
    assert len(recalls) == 4
