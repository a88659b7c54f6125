"""Recipes: checked against signatures, with errors that name the nearest key."""

import dataclasses
from pathlib import Path

import pytest
import torch

import otolith
from otolith.classifiers.transfer import TransferClassifier
from otolith.encoders import Strided
from otolith.experiments import recipe
from otolith.experiments.build import build_encoder, build_objective
from otolith.objectives import Reconstruction

MINIMAL = """
dataset = "synthetic"
[encoder]
name = "strided"
[objective]
name = "simclr"
"""


def load(tmp_path: Path, text: str, *changes: str, seed: int | None = None) -> recipe.Recipe:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return recipe.load(path, changes, seed)


def test_a_minimal_recipe_leaves_every_default_to_the_signatures(tmp_path: Path) -> None:
    loaded = load(tmp_path, MINIMAL)
    assert (loaded.name, loaded.dataset, loaded.seed) == ("mine", "synthetic", 0)
    assert loaded.encoder == {"name": "strided"}
    assert loaded.pretrain == loaded.protocol == loaded.transfer == loaded.windows == {}
    assert loaded.unlabelled == {"label": None}


def test_changes_win_over_the_file_and_keep_their_types(tmp_path: Path) -> None:
    changes = ["pretrain.epochs=3", "pretrain.patience=none", "protocol.shots=[2, 'all']"]
    loaded = load(tmp_path, MINIMAL + "[pretrain]\nepochs = 50\n", *changes, "name=other", seed=7)
    assert loaded.pretrain == {"epochs": 3, "patience": None}
    assert loaded.protocol == {"shots": [2, None]}
    assert (loaded.name, loaded.seed) == ("other", 7)


def test_the_kept_text_is_a_recipe_that_loads_to_the_same(tmp_path: Path) -> None:
    text = (
        MINIMAL
        + '[transfer]\nhead = { name = "mlp", hidden = [8] }\n[transfer.training]\nlr = 1e-4\npatience = "none"\n'
    )
    text += "[transfer.finetune.training]\nsteps = 7\nfinetuning = { layer_decay = 0.5 }\n"
    text += "[transfer.frozen.head]\ndropout = 0\n"
    one = load(tmp_path, text, 'objective.augmentations=[{name = "rotation", sd_degrees = 20}]')
    two = load(tmp_path, one.text, "name=mine")
    head = {"name": "mlp", "hidden": [8]}
    assert one.transfer == two.transfer == {"head": head, "training": {"lr": 1e-4, "patience": None}}
    training = {"steps": 7, "finetuning": {"layer_decay": 0.5}}
    assert one.overrides == two.overrides == {"finetune": {"training": training}, "frozen": {"head": {"dropout": 0.0}}}
    arguments = one.classifier_arguments("finetune")
    assert arguments == {"mode": "finetune", "head": head, "training": {"lr": 1e-4, "patience": None, **training}}
    assert TransferClassifier.from_arguments(arguments).training.finetuning.layer_decay == 0.5
    assert one.classifier_arguments("frozen")["head"] == {**head, "dropout": 0.0}
    assert one.objective == two.objective


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "[pretrain]\nepoch = 3\n", r"unknown name 'epoch' in \[pretrain\]; did you mean 'epochs'"),
        (MINIMAL + "[pretain]\nepochs = 3\n", "did you mean 'pretrain'"),
        (
            MINIMAL + "[pretrain]\ndraw = 'variance'\n",
            r"unknown name 'draw' in \[pretrain\]; did you mean 'sampling.draw'",
        ),
        (
            MINIMAL + "[pretrain]\nsampling = 'variance'\n",
            r"\[pretrain\] sampling = 'variance': expected a table with some of",
        ),
        (MINIMAL + "[pretrain.sampling]\nshares = 1\n", r"'shares' in \[pretrain.sampling\]; did you mean 'share'"),
        (MINIMAL + "[pretrain.runtime]\nresume = 'x'\n", r"unknown name 'resume' in \[pretrain.runtime\]"),
        (MINIMAL.replace('"synthetic"', '"../elsewhere"'), r"corpus '../elsewhere' is not the name of a folder"),
        (MINIMAL.replace("strided", "stride"), "did you mean 'strided'"),
        (MINIMAL.replace("simclr", "simclrr"), "did you mean 'simclr'"),
        (MINIMAL + "[protocol]\njobs = 2\n", r"unknown name 'jobs' in \[protocol\]"),
        (MINIMAL + "[pretrain]\nseed = 2\n", r"unknown name 'seed' in \[pretrain\]"),
        (MINIMAL + "[pretrain]\nepochs = 'many'\n", r"\[pretrain\] epochs = 'many': .*integer"),
        (
            MINIMAL + "[pretrain]\nsampling.draw = 'odd'\n",
            r"\[pretrain.sampling\] draw .*'uniform', 'subject', 'placement' or 'variance'",
        ),
        (MINIMAL + "[transfer.finetune]\ntrainings = {}\n", r"\[transfer.finetune\]; did you mean 'training'"),
        (
            MINIMAL + "[transfer]\nlr = 0.1\n",
            r"unknown name 'lr' in \[transfer\]; known: head, training, first_layer, device",
        ),
        (MINIMAL + "[transfer.training]\nstep = 3\n", r"\[transfer.training\]; did you mean 'steps'"),
        (MINIMAL + "[transfer.training]\nsteps = 0.5\n", r"\[transfer.training\] steps = 0.5: .*integer"),
        (MINIMAL + "[transfer.training]\nfinetuning = 3\n", r"\[transfer.training\] finetuning = 3; expected a table"),
        (
            MINIMAL + "[transfer.training.finetuning]\nlr = 3\n",
            r"unknown name 'lr' in \[transfer.training.finetuning\]",
        ),
        (
            MINIMAL + "[transfer]\nhead = 'mlp'\n",
            r"\[transfer\] head = 'mlp'; expected a table, such as head = { name = ",
        ),
        (MINIMAL + "[transfer]\nhead = { name = 'mpl' }\n", r"unknown name 'mpl' in transfer.head; did you mean 'mlp'"),
        (MINIMAL + "[transfer]\nhead = { whitens = 0.1 }\n", r"\[transfer.head\]; did you mean 'whiten'"),
        (
            MINIMAL + "[transfer.frozen]\nhead = { name = 'mlp', C = 1 }\n",
            r"'C' in \[transfer.frozen.head\]; known: hidden",
        ),
        (MINIMAL + "[transfer]\nhead = { name = 'mlp' }\n[transfer.frozen.head]\nC = 1\n", r"'C' in .*; known: hidden"),
        ("[encoder]\nname='tpn'", "no dataset named"),
        ("dataset = 'spar'", r"\[encoder\] has no name; one of"),
        ("dataset = 'spar'\nencoder = 'tpn'", "'encoder' is a value; expected a section"),
        ("dataset = ", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize("change", ["pretrain.epochs", "=3", "dataset.name=3"])
def test_changes_that_cannot_be_read(tmp_path: Path, change: str) -> None:
    with pytest.raises(ValueError, match=r"cannot (read the change|set)"):
        load(tmp_path, MINIMAL, change)


def test_corpora_to_pretrain_on_and_arms_of_ones_own(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL).pretrain_on == ("synthetic",)
    arm = '[transfer.supervised]\nmode = "scratch"\ntraining = { lr = 0.5 }\n'
    text = 'pretrain_on = ["spar", "synthetic"]\n' + MINIMAL + arm
    loaded = load(tmp_path, text)
    assert loaded.pretrain_on == ("spar", "synthetic")
    assert loaded.overrides == {"supervised": {"mode": "scratch", "training": {"lr": 0.5}}}
    for change, message in [
        ("pretrain_on=[]", r"pretrain_on is \[\]; expected a list of corpora, each once"),
        ('pretrain_on=["spar", "spar"]', "each once"),
        ("pretrain_on=[3]", "the corpus 3 is not the name of a folder of prepared data"),
        ("transfer.odd.training.lr=0.1", r"unknown name 'odd' in \[transfer.odd\], whose mode is none of these"),
    ]:
        with pytest.raises(ValueError, match=message):
            load(tmp_path, MINIMAL, change)


def test_a_recipe_can_extend_another_and_hold_variants(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(
        MINIMAL + "temperature = 0.5\n[pretrain]\nepochs = 3\nlr = 0.1\n"
        '[variants.rec]\nobjective = { name = "reconstruction", mask = 0.5 }\npretrain = { lr = 0.2 }\n'
        "[variants.cold.objective]\ntemperature = 0.1\n"
    )
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "mine.toml"
    path.write_text('extends = "../base.toml"\ndataset = "spar"\n[pretrain]\nepochs = 4\n')
    plain = recipe.load(path)
    assert (plain.name, plain.dataset, plain.pretrain) == ("mine", "spar", {"epochs": 4, "lr": 0.1})
    assert plain.objective == {"name": "simclr", "temperature": 0.5}
    assert recipe.variants(path) == ["rec", "cold"]
    rec, cold = recipe.load(path, variant="rec"), recipe.load(path, ["pretrain.lr=0.3"], variant="cold")
    assert rec.objective == {"name": "reconstruction", "mask": 0.5} and rec.pretrain == {"epochs": 4, "lr": 0.2}
    assert rec.name == "mine-rec" and cold.name == "mine-cold"
    assert cold.objective == {"name": "simclr", "temperature": 0.1} and cold.pretrain == {"epochs": 4, "lr": 0.3}
    with pytest.raises(ValueError, match="unknown name 'warm' in variants; known: rec, cold"):
        recipe.load(path, variant="warm")
    path.write_text('extends = "mine.toml"\n')
    with pytest.raises(ValueError, match="extends itself"):
        recipe.load(path)
    path.write_text('extends = "gone.toml"\n')
    with pytest.raises(FileNotFoundError, match=r"no recipe at '.*gone.toml'; there are: mine.toml"):
        recipe.load(path)
    path.write_text(MINIMAL + "[variants]\nrec = 3\n")
    with pytest.raises(ValueError, match=r"variants are tables, \[variants.NAME.SECTION\]"):
        recipe.variants(path)


PAIRED = """
dataset = "synthetic"
setting = "mine"
prompts = "words/p.toml"
[paired]
modalities = ["text", "skeleton"]
fraction = 0.5
[encoder]
name = "primus"
[objective]
name = "primus"
heads = "own"
[transfer]
head = { name = "text" }
[variants.other]
prompts = "words/q.toml"
paired = { modalities = ["skeleton"] }
[variants.plain]
objective = { name = "simclr" }
"""


def test_pairs_and_prompts(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "p.toml").write_text('"very slow" = "a person creeps"\nfast = ["run", "sprint"]\n')
    (tmp_path / "words" / "q.toml").write_text('slow = "walk"\n')
    path = tmp_path / "mine.toml"
    path.write_text(PAIRED)
    loaded = recipe.load(path)
    assert loaded.prompts == {"very slow": ["a person creeps"], "fast": ["run", "sprint"]}
    assert loaded.paired == {"modalities": ["text", "skeleton"], "fraction": 0.5} and loaded.takes_pairs
    assert loaded.setting == "mine" and loaded.transfer == {"head": {"name": "text"}}
    for arm, mode in (("frozen", "frozen"), ("zero-shot", "zero-shot")):
        found = loaded.classifier_arguments(arm)
        assert found["mode"] == mode and found["head"]["prompts"] == loaded.prompts
        assert TransferClassifier.from_arguments(found).head.prompts == loaded.prompts
    (tmp_path / "kept.toml").write_text(loaded.text)
    kept = recipe.load(tmp_path / "kept.toml", ["name=mine"])
    assert kept == recipe.load(tmp_path / "kept.toml", ["name=mine"]) and kept.prompts == loaded.prompts
    assert kept.paired == loaded.paired
    other = recipe.load(path, variant="other")
    assert other.prompts == {"slow": ["walk"]}, "prompts are replaced, not mixed"
    assert other.paired == {"modalities": ["skeleton"], "fraction": 0.5}
    assert not recipe.load(path, variant="plain").takes_pairs
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.toml").write_text('extends = "../mine.toml"\n')
    assert recipe.load(tmp_path / "below" / "b.toml").prompts == loaded.prompts
    minimal = load(tmp_path, MINIMAL)
    assert (minimal.setting, minimal.paired, minimal.prompts, minimal.takes_pairs) == ("synthetic", {}, None, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("paired.modalities=[]", r"\[paired\] modalities is \[\]; expected a list such as"),
        ('paired.modalities=["text", "text"]', "each once"),
        ('paired.modalities="text"', "expected a list"),
        ("paired.fractions=1.0", r"unknown name 'fractions' in \[paired\]; did you mean 'fraction'"),
        ('paired.fraction="half"', r"\[paired\] fraction = 'half'"),
        ("paired.seed=3", r"unknown name 'seed' in \[paired\]"),
        ("objective.paired={text = 3}", r"unknown name 'paired' in \[objective\]"),
        ("prompts.slow=3", r"\[prompts\] 'slow' is 3; expected a sentence"),
        ('transfer.head.prompts="p.toml"', r"unknown name 'prompts' in \[transfer.head\]"),
        ("windows.starts={a = [1]}", r"unknown name 'starts' in \[windows\]"),
    ],
)
def test_mistakes_in_pairs_and_prompts(tmp_path: Path, change: str, message: str) -> None:
    text = PAIRED.replace('prompts = "words/p.toml"', "").replace('prompts = "words/q.toml"', "")
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text, change)
    with pytest.raises(FileNotFoundError, match="no prompts at '"):
        load(tmp_path, PAIRED)


def test_an_encoder_that_normalises_itself_and_heads_of_the_pairs_sizes(tmp_path: Path, windows) -> None:
    text = PAIRED.replace('prompts = "words/p.toml"', "").replace('prompts = "words/q.toml"', "")
    loaded = load(tmp_path, text)
    long = dataclasses.replace(windows, contract=dataclasses.replace(windows.contract, seconds=2.5))[::50]
    paired = {"text": torch.zeros(len(long), 9), "skeleton": torch.zeros(len(long), 4)}
    present = {name: torch.ones(len(long), dtype=torch.bool) for name in paired}
    long = dataclasses.replace(long, paired=paired, present=present)
    encoder = build_encoder(loaded, long, seed=0)
    assert encoder.mean == [0.0] * 6 and encoder.std == [1.0] * 6
    objective = build_objective(loaded, encoder, long, seed=0)
    assert objective.paired == {"text": 9, "skeleton": 4}
    assert {name: head.out_features for name, head in objective.mmcl_head.items()} == objective.paired


def test_a_missing_recipe_lists_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "there.toml").write_text(MINIMAL)
    with pytest.raises(FileNotFoundError, match=r"no recipe at .*; there are: there.toml"):
        recipe.load(tmp_path / "absent.toml")


def test_built_objects_take_their_arguments_from_recipe_and_windows(tmp_path: Path, windows) -> None:
    text = MINIMAL.replace("simclr", "reconstruction").replace('"strided"', '"strided"\ndropout = 0.3')
    loaded = load(tmp_path, text)
    encoder = build_encoder(loaded, windows, seed=3)
    assert isinstance(encoder, Strided)
    assert encoder.dropout == 0.3
    assert encoder.mean == windows.statistics()["mean"]
    objective = build_objective(loaded, encoder, windows, seed=3)
    assert isinstance(objective, Reconstruction)
    assert objective.steps == windows.shape[2]
    again = build_encoder(loaded, windows, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), again.parameters(), strict=True))
    other = build_encoder(loaded, windows, seed=4)
    assert not all(torch.equal(a, b) for a, b in zip(encoder.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    "path", sorted((Path(otolith.__file__).parent / "recipes").glob("*.toml")), ids=lambda p: p.stem
)
def test_every_recipe_that_ships_is_valid(path: Path) -> None:
    assert recipe.load(path).name == path.stem
