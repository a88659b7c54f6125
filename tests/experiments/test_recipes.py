"""Every recipe that ships, and every variant of it, runs for one step on small files in the official layouts."""

import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

import otolith
from otolith import paired
from otolith.classifiers import prompts
from otolith.classifiers.baselines import CLASSICAL
from otolith.classifiers.heads import LogisticHead, MLPHead
from otolith.classifiers.heads.logistic import PLAIN
from otolith.classifiers.settings import Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.multimodal import MultimodalData, Narration, SensorStream, VideoStream
from otolith.data.store import open_store
from otolith.datasets import DATASETS
from otolith.datasets.prepare import prepare_dataset
from otolith.evaluation.arms import mode_of
from otolith.experiments import recipe
from otolith.experiments.run import Run

RECIPES = Path(otolith.__file__).parent / "recipes"
EVERY = sorted(path for path in RECIPES.rglob("*.toml") if path.parent.name != "prompts")
PEOPLE = range(1, 7)
SHORT = [
    "pretrain.epochs=1",
    "pretrain.batch_size=32",
    "pretrain.sampling.share=0.5",
    "protocol.folds=2",
    "protocol.seeds=[0]",
    "protocol.shots=[2]",
    "transfer.training.epochs=1",
]
SLOW = ("minirocket-head", "hydra-head")  # which test_hydra.py fits
WORDS = paired.TextEncoder(
    "minilm",
    "5" * 64,
    12,
    lambda texts: torch.tensor(
        np.array([np.random.default_rng(list(t.encode())).normal(size=12) for t in texts])
    ).float(),
)


def motion(person: int, act: int, steps: int, width: int = 3) -> np.ndarray:
    """(steps, width): gravity, a movement of its own for each act, and noise."""
    random = np.random.default_rng([person, act])
    time = np.arange(steps)[:, None] / 50
    wave = np.sin(2 * np.pi * (0.5 + act) * time + np.arange(width)) * random.uniform(0.2, 0.6)
    return wave + np.eye(width)[2] + random.normal(scale=0.05, size=(steps, width))


PICTURES = paired.ImageEncoder(
    "pictures", "6" * 64, 8, lambda x: torch.tensor(x).float(), lambda x: x.flatten(1)[:, :8] + torch.arange(8.0)
)


def grey(times_s: Sequence[float]) -> Iterator[np.ndarray]:
    """Pictures whose brightness follows the time."""
    for time_s in times_s:
        yield np.full((4, 4, 3), round(40 * time_s) % 256, dtype=np.uint8)


def pair(folder: Path) -> None:
    """Beside UTD-MHAD, as small as can be: an action's words, a skeleton, and pictures of the first trial."""
    store = open_store(folder / "utd-mhad")
    random = np.random.default_rng(0)
    multimodal_data = []
    for entry in store.entries:
        seconds = entry.steps / store.rate_hz
        time_s = np.arange(0, seconds, 0.1)
        sensor_streams = {"skeleton": SensorStream(time_s, random.normal(size=(len(time_s), 6)).astype(np.float32))}
        video_stream = VideoStream(entry.name, 0.0, seconds, grey) if entry.name.endswith("_t1") else None
        words = (Narration(0.0, seconds, store.labels[entry.spans[0][2]]),)
        multimodal_data.append(MultimodalData(entry.name, words, video_stream, sensor_streams))
    list(
        paired.embed(multimodal_data, store, paired.folder_of(folder, "utd-mhad"), text=WORDS, image=PICTURES, fps=5.0)
    )


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "text_encoder", lambda name="minilm", **_: WORDS)
    for cached in (prompts._encoder, prompts._vectors):
        cached.cache_clear()


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def lines(rows: np.ndarray, between: str = ",", end: str = "\n") -> str:
    file = io.StringIO()
    np.savetxt(file, rows, fmt="%.9g", delimiter=between, newline=end)
    return file.getvalue()


def capture24(root: Path) -> None:
    for person in PEOPLE:
        stamps = np.datetime64("2016-11-13T02:00:00") + np.arange(2000) * np.timedelta64(10, "ms")
        values = motion(person, 0, 2000)
        text = "\n".join(
            f"{str(t).replace('T', ' ')},{x:.4f},{y:.4f},{z:.4f}," for t, (x, y, z) in zip(stamps, values, strict=True)
        )
        put(root / f"P{person:03d}.csv.gz", "time,x,y,z,annotation\n" + text + "\n")


def nhanes(root: Path) -> None:
    stamps = np.datetime64("2000-01-07T12:30:00") + np.arange(1600) * np.timedelta64(12500, "us")
    text = "\n".join(
        f"{str(t).replace('T', ' ')},{x:.4f},{y:.4f},{z:.4f}"
        for t, (x, y, z) in zip(stamps, motion(1, 0, 1600), strict=True)
    )
    put(root / "sample.csv.gz", "time,x,y,z\n" + text + "\n")


def pamap2(root: Path) -> None:
    for person in PEOPLE:
        table = np.full((2400, 54), np.nan)
        table[:, 0] = np.arange(2400) / 100
        table[:, 1] = np.repeat([1, 4, 5], 800)
        for act in range(3):
            table[act * 800 : (act + 1) * 800, 3:16] = 0.0
            table[act * 800 : (act + 1) * 800, 4:7] = 9.8 * motion(person, act, 800)
        table[:, 10:13] = 0.1
        put(root / "PAMAP2_Dataset" / "Protocol" / f"subject10{person}.dat", lines(table, " ").replace("nan", "NaN"))


def dsads(root: Path) -> None:
    for person in PEOPLE:
        for act in (1, 9, 12):
            table = np.ones((125, 45))
            table[:, 9:12] = 9.8 * motion(person, act, 125)
            put(root / "data" / f"a{act:02d}" / f"p{person}" / "s01.txt", lines(table))


def mhealth(root: Path) -> None:
    for person in PEOPLE:
        table = np.zeros((1200, 24))
        table[:, 23] = np.repeat([1, 4, 0], 400)
        for act in range(3):
            table[act * 400 : (act + 1) * 400, 14:17] = 9.8 * motion(person, act, 400)
        put(root / "MHEALTHDATASET" / f"mHealth_subject{person}.log", lines(table, "\t"))


def myogym(root: Path) -> None:
    raw, labels = [], []
    for person in PEOPLE:
        table = np.zeros((1200, 17))
        table[:, 9] = table[:, 13] = np.arange(1200) * 20_000 + person * 100_000_000
        for act in range(3):
            table[act * 400 : (act + 1) * 400, 10:13] = motion(person, act, 400)
        raw.append(table)
        labels.append(np.stack([np.repeat([1, 2, 99], 400), np.full(1200, person)], axis=1))
    file = io.BytesIO()
    savemat(file, {"raw_data": np.concatenate(raw), "raw_data_labels": np.concatenate(labels).astype(float)})
    put(root / "MyoGym.mat", file.getvalue())


def motionsense(root: Path) -> None:
    header = ["", *(f"attitude.{n}" for n in ("roll", "pitch", "yaw"))]
    header += [f"{kind}.{axis}" for kind in ("gravity", "rotationRate", "userAcceleration") for axis in "xyz"]
    for person in PEOPLE:
        for act, folder in enumerate(("wlk_7", "sit_5", "jog_9")):
            table = np.zeros((400, 13))
            table[:, 0], table[:, 4:7] = np.arange(400), motion(person, act, 400)
            put(root / "A_DeviceMotion_data" / folder / f"sub_{person}.csv", ",".join(header) + "\n" + lines(table))


def wisdm(root: Path) -> None:
    for person in PEOPLE:
        text = ""
        for act, code in enumerate("AB"):
            for step, (x, y, z) in enumerate(9.8 * motion(person, act, 200)):
                text += f"{1599 + person},{code},{(act * 1000 + step) * 50_000_000},{x:.5f},{y:.5f},{z:.5f};\n"
        name = f"data_{1599 + person}_accel_watch.txt"
        put(root / "wisdm-dataset" / "raw" / "watch" / "accel" / name, text)


def myo_readings(root: Path) -> None:
    for person in PEOPLE:
        for gesture in range(3):
            signal = np.round(60 * motion(person, gesture, 1200, 8)).clip(-128, 127)
            table = np.column_stack([signal, np.repeat([0, gesture], 600)]).astype(int)
            put(root / "_readings_right_hand" / f"1000{person}-1" / f"{gesture}.txt", lines(table, ","))


def lis_emg_imu(root: Path) -> None:
    for day, date in enumerate(("26/06/20", "27/06/20", "09/07/20")):
        for act, letter in enumerate("ABC"):
            for number in range(3):
                signal = motion(10 * day + number, act, 400, 14)
                emg = np.round(60 * signal[:, 6:]).clip(-128, 127).astype(int).tolist()
                rows = [{"acceleration": row[:3], "gyroscope": row[3:6]} for row in signal.tolist()]
                found = {"timestamp": f"{date}/10:00:00", "imu": {"frequency": 200, "data": rows}}
                name = f"015c05a7-3838-431a-82d8-9a55a8e0d{day}{act}{number}.json"
                put(root / "Dataset" / letter / name, json.dumps({**found, "emg": {"frequency": 200, "data": emg}}))


def wharf(root: Path) -> None:
    for person in PEOPLE:
        for act, name in enumerate(("Walk", "Drink_glass", "Comb_hair")):
            codes = np.clip(np.round((motion(person, act, 200) + 1.5) * 21), 0, 63)
            file = f"Accelerometer-2011-04-11-13-28-18-{name.lower()}-m{person}.txt"
            put(root / "WHARF Data Set" / "Data" / name / file, lines(codes, " "))


def sp_sw_har(root: Path) -> None:
    header = ",".join([f"{axis}_{sensor}" for sensor in ("acc", "gyro") for axis in "xyz"] + ["timestamp", "label"])
    for person in PEOPLE:
        rows = header + "\n"
        for act, label in enumerate(("SEATED", "WALKING", "TURNING")):
            for step, values in enumerate(9.8 * motion(person, act, 400)):
                stamp = 1657533977813 + round((act * 400 + step) / 0.1043)
                rows += ",".join(map(str, [*values, *values / 10, stamp, label])) + "\n"
        put(root / "DATA" / f"s{person:02d}" / f"s{person:02d}_01_sw.csv", rows)


def utd_mhad(root: Path) -> None:
    for person in PEOPLE:
        for act in range(1, 28):
            for trial in (1, 2):
                file = io.BytesIO()
                savemat(file, {"d_iner": motion(person, act, 160, 6)})
                put(root / "Inertial" / f"a{act}_s{person}_t{trial}_inertial.mat", file.getvalue())


MAKERS: dict[str, Callable[[Path], None]] = {
    "capture24": capture24,
    "dsads": dsads,
    "lis-emg-imu": lis_emg_imu,
    "mhealth": mhealth,
    "motionsense": motionsense,
    "myo-readings": myo_readings,
    "myogym": myogym,
    "nhanes": nhanes,
    "pamap2": pamap2,
    "sp-sw-har": sp_sw_har,
    "utd-mhad": utd_mhad,
    "wharf": wharf,
    "wisdm": wisdm,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of every corpus that a recipe names, from made official files; SPAR from its package."""
    folder = tmp_path_factory.mktemp("data")
    for name, make in MAKERS.items():
        source = tmp_path_factory.mktemp(name)
        make(source)
        list(prepare_dataset(name, source, folder))
        if name == "lis-emg-imu":
            list(paired.precompute(DATASETS[name], source, folder, text=None, image=None))
    try:
        list(prepare_dataset("spar", None, folder))
    except FileNotFoundError:
        pytest.skip("the package seglearn is not installed")
    pair(folder)
    return folder


def cases() -> list[tuple[Path, str | None]]:
    """Every recipe with each of its variants, but for those that show nothing new, since others make the same encoder and
    have the same target and arms."""
    found: list[tuple[Path, str | None]] = []
    made, judged = set[str](), set[str]()
    for path in EVERY:
        for variant in recipe.variants(path) or [None]:
            loaded = recipe.load(path, variant=variant)
            own = loaded.dataset if loaded.dataset in loaded.pretrain_on else None
            cut = {**loaded.unlabelled, "placements": None} if own is None else loaded.unlabelled
            encoder = str(
                [own, loaded.pretrain_on, cut, loaded.paired, loaded.encoder, loaded.objective, loaded.pretrain]
            )
            target = str([loaded.dataset, loaded.windows, loaded.protocol, loaded.transfer, loaded.overrides])
            if encoder not in made or target not in judged:
                found.append((path, variant))
            made.add(encoder)
            judged.add(target)
    return found


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")  # heads on a few made windows
@pytest.mark.parametrize(("path", "variant"), cases(), ids=lambda value: getattr(value, "stem", value))
def test_every_recipe_runs(
    path: Path, variant: str | None, data: Path, tmp_path_factory: pytest.TempPathFactory, words: None
) -> None:
    loaded = recipe.load(path, SHORT, variant=variant)
    assert loaded.dataset in DATASETS
    more = {"objective.future_steps=8"} if "future_steps" in loaded.objective else set()
    if loaded.encoder["name"] == "primus":  # two test people of six, and a recurrence of a fifth of the width
        more |= {"encoder.width=32", "transfer.training.steps=1", "pretrain.sampling.share=0.05"}
    if "test" in loaded.protocol and loaded.dataset == "utd-mhad":
        more |= {'protocol.test=["2", "4"]'}
    if loaded.dataset == "spar" and "spar" not in loaded.pretrain_on:  # large, and others than it are pretrained on
        more |= {'unlabelled.subjects="none"'}
    if "subjects" in loaded.windows or loaded.dataset == "spar":  # made corpora have fewer people
        more |= {f"windows.subjects={json.dumps(open_store(data / loaded.dataset).subjects[:5])}"}
    modes = [mode for mode in loaded.protocol["modes"] if mode not in SLOW]
    more |= {f"protocol.modes={json.dumps(modes)}"} if modes != loaded.protocol["modes"] else set()
    if "placements" in loaded.windows:  # the made corpora have one
        more |= {'windows.placements="none"', 'unlabelled.placements="none"'}
    if loaded.unlabelled.get("subjects") and loaded.unlabelled["subjects"] != loaded.windows.get(
        "subjects"
    ):  # likewise
        more |= {f"unlabelled.subjects={json.dumps(open_store(data / loaded.pretrain_on[0]).subjects[:5])}"}
    loaded = recipe.load(path, [*SHORT, *more], variant=variant)
    shared = tmp_path_factory.getbasetemp() / "shared"
    run = Run(loaded, shared / f"{path.stem}-{variant}", data, shared)
    for _ in run.pretrain():
        pass
    total, rows = run.evaluate()
    made = [next(rows) for _ in range(min(total, len(loaded.protocol["modes"])))]
    if run.can_retrieve:
        assert {recall.modality for recall in run.retrieve()} == {*loaded.paired["modalities"]}
    assert {row.mode for row in made} == set(loaded.protocol["modes"])
    assert all(0 <= row.macro_f1 <= 1 and not row.test_seen_in_pretraining for row in made)


def test_the_papers_experiment_is_there_for_each_of_its_targets() -> None:
    for target in ("myogym", "pamap2", "motionsense", "mhealth"):
        path = RECIPES / "dont-freeze" / f"{target}.toml"
        pretexts = {"cpc", "reconstruction", "cpc_reconstruction", "transform_discrimination", "simclr"}
        assert pretexts | {f"{name}-target" for name in pretexts} <= set(recipe.variants(path))
        for pretext in pretexts:
            external = recipe.load(path, variant=pretext)
            assert external.pretrain_on == ("capture24",) and external.dataset == target
            assert external.pretrain["sampling"] == {"draw": "variance", "share": 0.1}
            assert external.protocol["shots"] == [2, 5, 10, 50, 100, None] and external.protocol["folds"] == 5
            assert external.objective["name"] == pretext
            assert recipe.load(path, variant=f"{pretext}-target").pretrain_on == (target,)


def test_the_experiment_of_primus_is_there() -> None:
    arms = {"simclr", "ssl", "multimodal", "ssl-multimodal", "primus", "primus-tenth"}
    for setting in ("utd-mhad", "utd-mhad-folds", "unseen-actions", "spar", "motionsense"):
        path = RECIPES / "primus" / f"{setting}.toml"
        assert arms <= set(recipe.variants(path))
        loaded = {name: recipe.load(path, variant=name) for name in arms}
        assert len({str([r.encoder, r.pretrain, r.unlabelled, r.transfer]) for r in loaded.values()}) == 1, (
            "alike but for"
        )
        primus = loaded["primus"]
        assert primus.protocol["shots"] == [1, 2, 5, 10, 20, 50] and len(primus.protocol["seeds"]) == 5
        assert {"zero-shot", "scratch", "random-frozen", "forest"} < set(primus.protocol["modes"])
        assert loaded["primus-tenth"].paired == {**primus.paired, "fraction": 0.1} and not loaded["simclr"].takes_pairs
        assert primus.prompts is not None
        labels = primus.windows.get("labels") or DATASETS[primus.dataset].classes
        assert set(labels) <= set(primus.prompts)
    seen, unseen = (
        set(getattr(recipe.load(RECIPES / "primus/unseen-actions.toml"), part)["labels"])
        for part in ("unlabelled", "windows")
    )
    assert len(seen) == 18 and len(unseen) == 9 and seen | unseen == set(DATASETS["utd-mhad"].classes)
    sensitive = set(recipe.variants(RECIPES / "primus/utd-mhad.toml"))
    assert {f"temperature-{t}" for t in (0.05, 0.1, 0.2)} | {"neighbours-3", "neighbours-5", "queue-1024"} < sensitive
    assert {"alpha-0.25", "alpha-0.75"} < sensitive


def test_the_few_shot_arm_is_the_default_of_the_classifier() -> None:
    for name in ("few-shot", "demo"):
        made = recipe.load(RECIPES / f"{name}.toml")
        few_shot = TransferClassifier.from_arguments(made.classifier_arguments("few-shot"))
        default = TransferClassifier()
        assert few_shot.mode == default.mode and few_shot.head.arguments() == default.head.arguments()


def test_the_papers_arms_are_the_defaults_of_head_and_training() -> None:
    made = recipe.load(RECIPES / "dont-freeze.toml")
    for mode in ("frozen", "finetune", "scratch", "random-frozen"):
        arm = TransferClassifier.from_arguments(made.classifier_arguments(mode))
        assert arm.head.arguments() == MLPHead().arguments() and arm.training.arguments() == Training().arguments()


def test_arms_differ_in_what_their_names_say() -> None:
    """An override of one setting leaves the others of its table as they are."""
    made = recipe.load(RECIPES / "few-shot.toml")
    method = LogisticHead().arguments()
    heads = {
        arm: TransferClassifier.from_arguments(made.classifier_arguments(arm)).head.arguments()
        for arm in made.protocol["modes"]
        if mode_of(arm, made.overrides) not in CLASSICAL
    }
    differing = {arm: {k: v for k, v in head.items() if v != method[k]} for arm, head in heads.items()}
    assert differing == {
        "few-shot": {},
        "random-frozen": {},
        "without-self-training": {"self_training_rounds": 0},
        "without-people": {"subject_weight": 0.0, "self_training_rounds": 0},
        "without-whitening": {"whiten": None},
        "without-copies": {"n_augmented_copies": 0},
        "without-statistics": {"use_statistics": False},
        "frozen": {"whiten": None, "use_statistics": False, "n_augmented_copies": 0},
    }
    evidence = recipe.load(RECIPES / "evidence.toml")
    for arm in ("frozen-logistic", "random-logistic"):
        head = TransferClassifier.from_arguments(evidence.classifier_arguments(arm)).head
        assert head.arguments() == LogisticHead(**PLAIN).arguments()
    primus = recipe.load(RECIPES / "primus.toml")
    scratch = TransferClassifier.from_arguments(primus.classifier_arguments("scratch")).training
    assert (scratch.lr, scratch.finetuning.encoder_lr, scratch.batch_size, scratch.steps) == (1e-3, 1e-3, 64, 200)
